"""Answers to questions on contexts that are given as vectors: greedy ones, and the gold one's loss.

Used alike for a run's soft prompts and for whatever else may stand in a context's place.
"""

# Shape suffixes: B rows, C vectors in the context's place, L vectors of the joined rows, P vectors
# of the prompts, K answer tokens, D width, V vocabulary.

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from loradrift.data import Batch
from loradrift.models import Backbone
from loradrift.models.soft_prompt import Joined, join
from loradrift.models.soft_prompt.model import answer_logits, answer_tokens
from loradrift.models.soft_prompt.prefix import read_shared
from loradrift.tasks.reconstruction.losses import token_losses


class Generated(NamedTuple):
    """Greedy continuations."""

    token_ids: list[list[int]]
    """Without the token that ended a row."""

    ended: list[bool]
    """Whether a row ended before the last step."""

    first_entropy_B: Tensor
    """Entropy of the first token's distribution, in nats."""


class Answers(NamedTuple):
    """What is answered to a batch's questions, row by row."""

    texts: list[str]
    token_ids: list[list[int]]
    ended: list[bool]
    """Whether the model ended the answer itself."""

    first_entropy_B: Tensor
    gold_loss_B: Tensor
    """Mean of the gold answer's tokens, without the one that ends it, in nats."""


class GoldScores(NamedTuple):
    """What one teacher-forced pass says of the gold answers."""

    loss_B: Tensor
    """Sum over the answer's tokens, without the one that ends it, in nats."""

    num_tokens_B: Tensor
    num_right_B: Tensor
    """Tokens that are the likeliest ones where all tokens before them are the gold answer's."""

    first_right_B: Tensor


class Answerer:
    """Answers with a backbone.

    Args:
        backbone: As it is: with its adapters on, unless they are off.
        tokenizer: Its tokenizer.
        max_tokens: Most tokens of an answer, without the one that ends it.
    """

    def __init__(self, backbone: Backbone, tokenizer: Any, max_tokens: int) -> None:
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    def answer_with(self, context_BCD: Tensor, sizes_B: Tensor, batch: Batch) -> Answers:
        """Answers to a batch's questions with these vectors in its contexts' place.

        Args:
            context_BCD: For a row its first ``sizes_B``, which may be none.
            sizes_B: How many vectors each row has.
            batch: Of an :class:`~loradrift.data.reconstruction.EncodedContexts`.
        """
        joined = join(self.backbone.embed(batch["input_ids"]), batch, context_BCD, sizes_B)
        found = self.generate(*left_padded(joined), joined.shared)
        texts = self.tokenizer.batch_decode(found.token_ids, skip_special_tokens=True)
        gold = self.score_gold(joined, batch)
        texts = [text.strip() for text in texts]
        return Answers(texts, *found, gold.loss_B / gold.num_tokens_B)

    def score_gold(self, joined: Joined, batch: Batch) -> GoldScores:
        """The gold answers under the model, from one pass."""
        tokens = answer_tokens(batch)
        logits_NV = answer_logits(self.backbone, joined, tokens)
        eos = self.tokenizer.eos_token_id
        own_N = torch.ones_like(tokens.ids_N) if eos is None else (tokens.ids_N != eos).long()
        right_N = (logits_NV.argmax(1) == tokens.ids_N) * own_N
        losses_N = token_losses(logits_NV, tokens.ids_N) * own_N
        loss_B, size_B, right_B = map(tokens.row_sums, (losses_N, own_N, right_N))
        return GoldScores(loss_B, size_B, right_B, right_N[tokens.steps_N == 0].bool())

    @torch.no_grad()
    def generate(self, embeds_BPD: Tensor, mask_BP: Tensor, shared: int = 0) -> Generated:
        """Continue prompts, each by its likeliest tokens.

        A row ends with the tokenizer's last token or with a line.

        Args:
            embeds_BPD: The prompts, padded before their own vectors (:func:`left_padded`).
            mask_BP: False for padding.
            shared: How many vectors they all begin with.
        """
        stops = torch.tensor(stop_ids(self.tokenizer), device=embeds_BPD.device)
        rows = len(embeds_BPD)
        found: list[list[int]] = [[] for _ in range(rows)]
        ended_B = torch.zeros(rows, dtype=torch.bool, device=embeds_BPD.device)
        entropy_B = torch.zeros(rows)
        cache = read_shared(self.backbone, embeds_BPD, shared)
        inputs = {"inputs_embeds": embeds_BPD if cache is None else embeds_BPD[:, shared:]}
        for step in range(self.max_tokens + 1):  # the last one may end the answer
            places_BP = (mask_BP.long().cumsum(1) - 1).clamp(min=0)
            size = next(iter(inputs.values())).shape[1]
            output = self.backbone.decoder(
                **inputs,
                attention_mask=mask_BP.long(),
                position_ids=places_BP[:, -size:],
                past_key_values=cache,
                use_cache=True,
            )
            cache = output.past_key_values
            logits_BV = self.backbone.next_token_logits(output.last_hidden_state[:, -1:])[:, 0]
            if step == 0:
                logs_BV = logits_BV.float().log_softmax(1)
                entropy_B = -(logs_BV.exp() * logs_BV).sum(1)
            next_B = logits_BV.argmax(1)
            ended_B = ended_B | torch.isin(next_B, stops)
            if bool(ended_B.all()) or step == self.max_tokens:
                break
            for row in (~ended_B).nonzero().flatten().tolist():
                found[row].append(int(next_B[row]))
            inputs = {"input_ids": next_B[:, None]}
            mask_BP = torch.cat([mask_BP, mask_BP.new_ones(rows, 1)], dim=1)
        return Generated(found, ended_B.tolist(), entropy_B)


def left_padded(joined: Joined) -> tuple[Tensor, Tensor]:
    """The rows up to their answers, with padding before what is their own, and their mask.

    What they share stays where it is, at the beginning.
    """
    shared, device = joined.shared, joined.answer_at_B.device
    most = int(joined.answer_at_B.max())
    padding_B1 = most - joined.answer_at_B[:, None]
    places_P = torch.arange(most, device=device)
    own_BP = places_P >= shared + padding_B1
    index_BP = torch.where(own_BP, places_P - padding_B1, places_P.clamp(max=max(shared - 1, 0)))
    index_BPD = index_BP[:, :, None].expand(-1, -1, joined.embeds_BLD.shape[2])
    return joined.embeds_BLD.gather(1, index_BPD), own_BP | (places_P < shared)


def stop_ids(tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end an answer: the tokenizer's own, and those with a line's end in them."""
    return _stop_ids(tokenizer)


@lru_cache(maxsize=4)
def _stop_ids(tokenizer: Any) -> tuple[int, ...]:
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    lines = {i for i, text in enumerate(texts) if "\n" in text}
    return tuple(sorted(lines | {tokenizer.eos_token_id} - {None}))


def scores(golds: Sequence[Sequence[str]], texts: Sequence[str]) -> list[tuple[float, float]]:
    """F1 and exact match of each text with its nearest gold answer, 0 to 100, as in SQuAD."""
    from loradrift.data.squad_v2.format import Answer, Question
    from loradrift.data.squad_v2.metrics import score

    questions = [
        Question(str(i), "", "", tuple(Answer(text, 0) for text in gold), (), "")
        for i, gold in enumerate(golds)
    ]
    found = score(questions, {str(i): text for i, text in enumerate(texts)})
    return [(100.0 * found.f1[q.id], 100.0 * found.exact[q.id]) for q in questions]
