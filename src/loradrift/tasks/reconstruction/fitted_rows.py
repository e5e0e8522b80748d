"""The training rows on which a soft prompt's components, grid and scales are fitted."""

from collections.abc import Iterator

import torch

from loradrift.data import Collator, Rows
from loradrift.models.soft_prompt import SoftPromptModel
from loradrift.models.soft_prompt.encoders import Context

FIT_ROWS = 2048
"""Most of them."""

FIT_BATCH = 64


def contexts(model: SoftPromptModel, table: Rows, collate: Collator) -> Iterator[Context]:
    """Some rows' contexts, evenly drawn from a table, in batches."""
    step = -(-len(table) // FIT_ROWS)
    rows = range(0, len(table), step)
    device = model.head.embedding_rms.device
    for first in range(0, len(rows), FIT_BATCH):
        batch = collate(table, rows[first : first + FIT_BATCH])
        batch = {name: value.to(device) for name, value in batch.items()}
        with torch.no_grad():
            embeds_BTD = model.backbone.embed(batch["input_ids"])
        yield model.head.context(embeds_BTD, batch["context_start"], batch["context_end"])
