"""Windows as batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from loradrift.data.batches import Batch, Collator, Rows
from loradrift.data.squad_v2.windows import Windows


@dataclass(frozen=True)
class SpanCollator(Collator):
    """A collator that also says where context and answer are."""

    def __call__(self, table: Rows, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Windows of ``table`` as one batch.

        Returns:
            What :class:`~loradrift.data.batches.Collator` gives, ``context_mask`` (B, T), and
            ``starts`` and ``ends`` (B,), the answer's tokens, -1 where a window has none.
        """
        batch = super().__call__(table, indices)
        if not isinstance(table, Windows):  # running text, on which forgetting is measured
            return batch
        index_B = np.asarray(indices, dtype=np.int64)
        places_T = torch.arange(batch["input_ids"].shape[1])
        begin_B = torch.from_numpy(table.context_at[index_B])
        return batch | {
            "context_mask": batch["attention_mask"] & (places_T >= begin_B[:, None]),
            "starts": torch.from_numpy(table.starts[index_B].astype(np.int64)),
            "ends": torch.from_numpy(table.ends[index_B].astype(np.int64)),
        }
