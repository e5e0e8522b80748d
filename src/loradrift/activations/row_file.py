"""A safetensors file that is filled a few rows at a time, so that none of its tensors is held."""

# Shape suffixes: K rows of one batch, N pooled rows, D width.

import json
from collections.abc import Sequence
from typing import BinaryIO

import torch
from torch import Tensor

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}

NAMES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
"""What safetensors calls the dtypes."""


def cast(x_ND: Tensor, dtype: str, what: str) -> Tensor:
    """A copy of ``x_ND`` on the CPU in one of :data:`DTYPES`.

    Raises:
        ValueError: If a finite value exceeds the dtype; names ``what`` it is.
    """
    source_ND = x_ND.detach().cpu()
    stored_ND = source_ND.to(DTYPES[dtype], copy=True).contiguous()
    # An activation that was infinite before is the model's doing and is kept.
    overflow_ND = stored_ND.isinf() & ~source_ND.isinf()
    if overflow_ND.any():
        worst = source_ND[overflow_ND].abs().max().item()
        raise ValueError(
            f"{what} must fit into {dtype}, got {worst:g}: set "
            "callbacks.activation_dump.dtype to bfloat16 or float32"
        )
    return stored_ND


class RowFile:
    """Matrices of ``num_rows`` rows, each written from its first to its last to an empty file."""

    def __init__(self, file: BinaryIO, names: Sequence[str], num_rows: int, dtype: str) -> None:
        self.file, self.num_rows, self.dtype = file, num_rows, dtype
        self.written = dict.fromkeys(names, 0)
        self.width = 0
        self._start = 0

    @property
    def shapes(self) -> dict[str, list[int]]:
        """The shape of each matrix."""
        return {name: [self.num_rows, self.width] for name in self.written}

    def append(self, name: str, rows_KD: Tensor) -> None:
        """Write a matrix's next rows, which must fit into the dtype."""
        if not self.width:
            self._begin(rows_KD.shape[1])
        stored_KD = cast(rows_KD, self.dtype, name)
        row_bytes = self.width * stored_KD.element_size()
        place = list(self.written).index(name) * self.num_rows + self.written[name]
        self.file.seek(self._start + place * row_bytes)
        self.file.write(stored_KD.view(-1).view(torch.uint8).numpy().tobytes())
        self.written[name] += len(rows_KD)

    def _begin(self, width: int) -> None:
        """Write the header: its length in 8 bytes, then JSON padded to a multiple of 8."""
        self.width = width
        size = self.num_rows * width * DTYPES[self.dtype].itemsize
        header = {
            name: {
                "dtype": NAMES[self.dtype],
                "shape": shape,
                "data_offsets": [number * size, (number + 1) * size],
            }
            for number, (name, shape) in enumerate(self.shapes.items())
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.file.write(len(text).to_bytes(8, "little") + text)
        self._start = self.file.tell()
