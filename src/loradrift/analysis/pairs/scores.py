"""Cosine of two texts' mean-pooled final hidden states."""

# Shape suffixes: N pairs, U different texts, B rows of a batch, T tokens, D width.

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
from loradrift.config import UserError
from loradrift.data import Collator, EvaluationBatches, Row, TokenTable, tokenize
from loradrift.models import Backbone

BATCH_SIZE = 32
MAX_LENGTH = 2048
"""Most tokens of a text where the architecture sets no limit."""

MANY = 100
"""Batches from which on progress is shown."""


class Texts(NamedTuple):
    """The pairs as tokens, each different text once."""

    table: TokenTable
    collate: Collator
    places_2N: NDArray[np.int64]
    """Rows of the table: first and second text of each pair."""


def tokenize_pairs(
    path: Path, pairs: Sequence[TextPair], backbone: Backbone, tokenizer: Any, cache: Path
) -> Texts:
    """Each text as ``bos text``, cut to the positions of the model.

    Args:
        path: Of the pairs' file, for messages.
        pairs: Its rows.
        backbone: Says how long a text may be.
        tokenizer: Of the base model.
        cache: Folder of token ids.

    Raises:
        UserError: If a text consists of special tokens; names file and line.
    """
    row_of: dict[str, int] = {}
    for pair in pairs:
        for text in (pair.text1, pair.text2):
            row_of.setdefault(text, len(row_of))
    limit = getattr(backbone.causal_lm.config, "max_position_embeddings", None) or MAX_LENGTH
    rows = [Row(f"text/{place}", text, None, 0) for text, place in row_of.items()]
    table = tokenize(rows, tokenizer, limit, cache)
    special = tuple({tokenizer.bos_token_id, tokenizer.eos_token_id} - {None})
    sides = [pair.text1 for pair in pairs], [pair.text2 for pair in pairs]
    places_2N = np.array([[row_of[text] for text in side] for side in sides])
    empty = {i for i in range(len(table)) if np.isin(table.row(i), special).all()}
    for pair, places in zip(pairs, places_2N.T, strict=True):
        if empty & set(places.tolist()):
            raise UserError(
                f"{path}, line {pair.line}: a text holds special tokens only: nothing to average"
            )
    # The padding is never seen: it is on the right, and attention is causal.
    return Texts(table, Collator(tokenizer.eos_token_id or 0, special), places_2N)


def score(backbone: Backbone, texts: Texts) -> NDArray[np.float64]:
    """Cosine of each pair (N,), in float64 from float32 states.

    Raises:
        UserError: If the model's states are not finite.
    """
    x_UD = embed(backbone, texts)
    first_N, second_N = torch.from_numpy(texts.places_2N)
    scores_N = F.cosine_similarity(x_UD[first_N], x_UD[second_N])
    if not scores_N.isfinite().all():
        raise UserError("the hidden states of the model overflow: no cosine can be computed")
    return scores_N.numpy()


@torch.inference_mode()
def embed(backbone: Backbone, texts: Texts) -> Tensor:
    """Mean of the final hidden states of each text's own tokens, (U, D) in float64."""
    from rich.console import Console
    from rich.progress import track

    backbone.eval()
    device = next(backbone.parameters()).device
    batches = EvaluationBatches(texts.table, texts.collate, batch_size=BATCH_SIZE)
    console = Console(stderr=True)
    quiet = len(batches) < MANY or not console.is_terminal
    x_UD = torch.empty(len(texts.table), backbone.width, dtype=torch.float64)
    for batch in track(batches, "texts", console=console, transient=True, disable=quiet):
        hidden_BTD = backbone.encode(batch["input_ids"].to(device))
        x_UD[batch["index"]] = mean(hidden_BTD, batch["content_mask"].to(device)).double().cpu()
    return x_UD
