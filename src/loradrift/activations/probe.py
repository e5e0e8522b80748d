"""The probe: rows that never change, on which every run is measured."""

# Shape suffixes: B rows of one batch, T tokens.

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KEYS = {
    "input_ids": (torch.int64,),
    "attention_mask": (torch.int64, torch.bool),
    "content_mask": (torch.bool,),
}
"""What a batch holds, and in which dtypes."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Tokenised rows in a fixed order, the same for every seed and method.

    Raises:
        ValueError: If the batches are malformed, not right-padded, or do not align with ``ids``.
    """

    ids: tuple[str, ...]
    """Row ids, one for each row of all batches in turn."""

    batches: tuple[dict[str, Tensor], ...]
    """``input_ids`` (int64), ``attention_mask`` (int64 or bool: 1 on real tokens) and
    ``content_mask`` (bool: real and not special), each ``(B, T)`` and right-padded."""

    def __post_init__(self) -> None:
        start = 0
        for index, batch in enumerate(self.batches):
            _check_form(index, batch)
            _check_padding(batch, self.ids[start:])
            start += len(batch["input_ids"])
        if not start or start != len(self.ids):
            raise ValueError(
                f"probe.ids must name every row of a non-empty probe, got {len(self.ids)} ids "
                f"for {start} rows"
            )

    @property
    def num_tokens(self) -> list[int]:
        """Content tokens of each row."""
        return [int(n) for batch in self.batches for n in batch["content_mask"].sum(1)]

    @property
    def bos_id(self) -> int | None:
        """The special token that begins every row; None if there is no such token."""
        first_N = torch.cat([batch["input_ids"][:, 0] for batch in self.batches])
        content_N = torch.cat([batch["content_mask"][:, 0] for batch in self.batches])
        shared = not content_N.any() and (first_N == first_N[0]).all()
        return int(first_N[0]) if shared else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of ids, real tokens and content mask; padding and batching leave it alone."""
        digest = hashlib.sha256()
        ids = iter(self.ids)
        for batch in self.batches:
            real_BT = batch["attention_mask"].bool()
            rows = zip(batch["input_ids"], real_BT, batch["content_mask"], strict=True)
            for tokens_T, real_T, content_T in rows:
                row = [next(ids), tokens_T[real_T].tolist(), content_T[real_T].tolist()]
                # JSON delimits its items, so no two different probes feed the same bytes.
                digest.update(json.dumps(row).encode())
        return digest.hexdigest()


def _check_form(index: int, batch: dict[str, Tensor]) -> None:
    if batch.keys() != KEYS.keys():
        raise ValueError(
            f"probe.batches[{index}] must have the keys {sorted(KEYS)}, got {sorted(batch)}"
        )
    shapes = {key: tuple(batch[key].shape) for key in KEYS}
    if len(set(shapes.values())) > 1 or batch["input_ids"].ndim != 2:
        raise ValueError(f"probe.batches[{index}] must have one shape (B, T), got {shapes}")
    for key, dtypes in KEYS.items():
        if (dtype := batch[key].dtype) not in dtypes:
            raise ValueError(f"probe.batches[{index}].{key} must be one of {dtypes}, got {dtype}")


def _check_padding(batch: dict[str, Tensor], ids: Sequence[str]) -> None:
    real_BT = batch["attention_mask"].bool()
    resumes_B = (real_BT[:, 1:] & ~real_BT[:, :-1]).any(1)
    stray_B = (batch["content_mask"] & ~real_BT).any(1)
    for row_id, resumes, stray in zip(ids, resumes_B.tolist(), stray_B.tolist(), strict=False):
        if resumes:
            raise ValueError(f"probe row {row_id!r} must be right-padded: a 0 precedes a 1")
        if stray:
            raise ValueError(f"probe row {row_id!r} marks padding as content")
