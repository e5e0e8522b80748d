"""The full text, read as anybody would: token ids, Transformers' own generation, plain loss.

It shares no code with what reads soft prompts: a replay of the text's embeddings must agree with
it.
"""

# Shape suffixes: B rows, T tokens, P tokens of the prompts, D width, N answer tokens of all rows,
# V vocabulary.

import torch
import torch.nn.functional as F
from torch import Tensor

from loradrift.data import Batch
from loradrift.data.reconstruction import EncodedContexts
from loradrift.models import Backbone
from loradrift.tasks.reconstruction.answering import Answerer, stop_ids
from loradrift.tasks.reconstruction.ladder.rungs import Given, RungRow, scored


@torch.no_grad()
def answer_text(answerer: Answerer, table: EncodedContexts, batch: Batch) -> list[RungRow]:
    """Answer a batch's questions from the full text."""
    sizes_B = batch["context_end"] - batch["context_start"]
    rows = batch["index"].tolist()
    num_bytes = [float(table.byte_ends(index)[-1]) for index in rows]
    given = Given(torch.empty(0), sizes_B, num_bytes)
    losses = gold_losses(answerer.backbone, batch, answerer.tokenizer.eos_token_id)
    return scored(table, rows, given, generated(answerer, batch), losses.tolist())


def generated(answerer: Answerer, batch: Batch) -> list[str]:
    """Greedy answers."""
    from transformers import GenerationConfig

    ids_BP, mask_BP = _prompts(batch)
    stops = stop_ids(answerer.tokenizer)
    # what is not said here, the model's own settings say: they may sample, or punish repetition
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        min_length=0,
        max_new_tokens=answerer.max_tokens,
        eos_token_id=list(stops) or None,
        pad_token_id=stops[0] if stops else 0,
    )
    found_BP = answerer.backbone.causal_lm.generate(
        input_ids=ids_BP, attention_mask=mask_BP.long(), generation_config=config
    )
    texts = []
    for ids in found_BP[:, ids_BP.shape[1] :].tolist():
        end = next((place for place, id in enumerate(ids) if id in stops), len(ids))
        texts.append(answerer.tokenizer.decode(ids[:end], skip_special_tokens=True).strip())
    return texts


def _prompts(batch: Batch) -> tuple[Tensor, Tensor]:
    """Token ids up to the answers, padded on the left, and their mask."""
    starts_B, ids_BT = batch["answer_start"], batch["input_ids"]
    most = int(starts_B.max())
    places_BP = torch.arange(most, device=ids_BT.device) - (most - starts_B[:, None])
    return ids_BT.gather(1, places_BP.clamp(min=0)), places_BP >= 0


def gold_losses(backbone: Backbone, batch: Batch, eos: int | None) -> Tensor:
    """Mean loss (B,) of each gold answer's tokens, without the one that ends it."""
    ids_BT = batch["input_ids"]
    places_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    last_B1 = batch["attention_mask"].sum(1)[:, None] - 1
    is_answer_BT = (places_T >= batch["answer_start"][:, None]) & (places_T <= last_B1)
    if eos is not None:
        is_answer_BT &= ~((places_T == last_B1) & (ids_BT == eos))
    hidden_BTD = backbone.encode(ids_BT)
    chosen_BT = is_answer_BT[:, 1:]
    logits_NV = backbone.next_token_logits(hidden_BTD[:, :-1][chosen_BT][None])[0]
    loss_N = F.cross_entropy(logits_NV.float(), ids_BT[:, 1:][chosen_BT], reduction="none")
    row_N = chosen_BT.nonzero()[:, 0]
    sums_B = torch.zeros(len(ids_BT), device=ids_BT.device).index_add(0, row_N, loss_N)
    return sums_B / chosen_BT.sum(1)
