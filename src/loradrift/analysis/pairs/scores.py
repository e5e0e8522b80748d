"""Cosine of two texts' embeddings, as the model's kind makes them.

A sentence-transformers model has ``encode``. Of any other, the final hidden states of the
transformer inside are averaged over the text's own tokens.
"""

# Shape suffixes: N pairs, U different texts, B rows of a batch, T tokens, D width.

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from loradrift.activations.pooling import mean
from loradrift.analysis.pairs.reading import TextPair
from loradrift.config import ModelConfig, UserError
from loradrift.data import Collator, EvaluationBatches, TokenTable
from loradrift.data.tokens import join_parts, token_ids
from loradrift.diagnose import LoadedBase
from loradrift.models import check_vocabulary, load_tokenizer, num_embeddings, pad_token

BATCH_SIZE = 32
MAX_LENGTH = 2048  # most tokens of a text where neither tokenizer nor architecture sets a limit
MANY = 100  # batches from which on progress is shown


class Texts(NamedTuple):
    """The texts of the pairs without repetition; ``encode`` makes its own ``tokens``."""

    texts: list[str]
    places_2N: NDArray[np.int64]
    """Where among them: first and second text of each pair."""

    tokens: tuple[TokenTable, Collator] | None
    num_truncated: int
    """Texts that are longer than the model takes."""


def prepare_texts(path: Path, pairs: Sequence[TextPair], loaded: LoadedBase, base: str) -> Texts:
    """Collect the texts of the pairs in ``path``, tokenized unless the model does so itself."""
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.text1, pair.text2)))
    row_of = {text: row for row, text in enumerate(texts)}
    places_N2 = np.array([[row_of[pair.text1], row_of[pair.text2]] for pair in pairs])
    if loaded.kind == "sentence-transformers":
        num_truncated = 0
        loaded.core.tokenizer.split_special_tokens = True  # as in encode_texts
        if limit := loaded.core.max_seq_length:
            rows = loaded.core.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
            num_truncated = sum(len(row) > limit for row in rows)
        return Texts(texts, places_N2.T, None, num_truncated)
    table, collate = tokenize_texts(texts, loaded.core.config, base)
    empty = {i for i in range(len(texts)) if not table.is_text(i).any()}
    for pair, places in zip(pairs, places_N2, strict=True):
        if empty & set(places.tolist()):
            raise UserError(
                f"{path}, line {pair.line}: a text has no token of its own: nothing to average"
            )
    return Texts(texts, places_N2.T, (table, collate), table.num_truncated)


def tokenize_texts(texts: Sequence[str], config: Any, base: str) -> tuple[TokenTable, Collator]:
    """Write each text as ``bos text`` (encoders: ``cls text sep``), cut to what the model takes."""
    try:
        tokenizer = load_tokenizer(ModelConfig(name="local", path=base))
    except UserError as error:
        said = str(error).replace("model.path=", "base=", 1).rstrip(": ")
        said = said.replace(" cannot be loaded", " has no tokenizer that can be loaded", 1)
        raise UserError(said) from None
    places = getattr(config, "max_position_embeddings", None) or MAX_LENGTH
    limit = min(places, tokenizer.model_max_length)  # RoBERTa has two places that it cannot use
    ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
    if ends[0] is None:
        ends = (tokenizer.bos_token_id, None)
    first, last = ([] if each is None else [each] for each in ends)
    num_rows = num_embeddings(config)
    check_vocabulary(f"base={base}", tokenizer, num_rows)
    plain = token_ids(tokenizer, texts)
    room = limit - len(first) - len(last)
    rows = [join_parts((first, 0), (ids[:room], 1), (last, 0)) for ids in plain]
    table = TokenTable(
        ids=tuple(f"text/{place}" for place in range(len(rows))),
        flat=np.concatenate([np.array(row.ids, dtype=np.int32) for row in rows]),
        offsets=np.cumsum([0, *(len(row.ids) for row in rows)], dtype=np.int64),
        labels=np.zeros(len(rows), dtype=np.int64),
        num_truncated=sum(len(ids) > room for ids in plain),
        text_flags=np.concatenate([np.array(row.flags, dtype=np.uint8) for row in rows]),
    )
    return table, Collator(pad_token(tokenizer, num_rows))


@torch.inference_mode()
def score(loaded: LoadedBase, texts: Texts) -> NDArray[np.float64]:
    """Cosine of each pair (N,), in float64 from float32 embeddings, which must be finite."""
    is_quiet = len(texts.texts) < MANY * BATCH_SIZE or not os.isatty(2)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if texts.tokens is not None:
            x_UD = _mean_states(loaded, *texts.tokens, is_quiet=is_quiet)
        else:
            options = {"batch_size": BATCH_SIZE, "show_progress_bar": not is_quiet}
            x_UD = torch.from_numpy(loaded.core.encode(texts.texts, **options)).double()
    finally:
        loaded.model.to("cpu")  # where it is certified
    first_N, second_N = torch.from_numpy(texts.places_2N)
    scores_N = F.cosine_similarity(x_UD[first_N], x_UD[second_N])
    if not scores_N.isfinite().all():
        raise UserError("the hidden states of the model overflow: no cosine can be computed")
    return scores_N.numpy()


def _mean_states(
    loaded: LoadedBase, table: TokenTable, collate: Collator, *, is_quiet: bool
) -> Tensor:
    """One vector per text, (U, D) in float64, on the CPU."""
    from rich.console import Console
    from rich.progress import track

    device = next(loaded.model.parameters()).device
    loaded.core.config.use_cache = False  # nothing is generated
    batches = EvaluationBatches(table, collate, batch_size=BATCH_SIZE)
    console = Console(stderr=True)
    order, rows = [], []
    for batch in track(batches, "texts", console=console, transient=True, disable=is_quiet):
        output = loaded.transformer(
            input_ids=batch["input_ids"].to(device),
            attention_mask=batch["attention_mask"].long().to(device),
        )
        pooled_BD = mean(output.last_hidden_state, batch["content_mask"].to(device))
        order.append(batch["index"])
        rows.append(pooled_BD.double().cpu())
    x_UD = torch.empty(len(table), rows[0].shape[1], dtype=torch.float64)
    x_UD[torch.cat(order)] = torch.cat(rows)
    return x_UD
