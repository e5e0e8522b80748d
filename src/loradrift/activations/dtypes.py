"""What activations are written as, and whether they fit."""

# Shape suffixes: N pooled rows, D width, L layers.

import torch
from torch import Tensor

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}

BOS = "bos"
"""Key of the beginning-of-sequence token's activations, beside the layers."""


def as_stored(
    step: int, layers: dict[str, Tensor], bos_LD: Tensor | None, dtype: str
) -> dict[str, Tensor]:
    """One step's tensors by key, as they are written.

    Raises:
        ValueError: If a finite value exceeds the dtype; names step and layer.
    """
    tensors = {name: cast(x_ND, dtype, f"{name} at step {step}") for name, x_ND in layers.items()}
    if bos_LD is not None:
        # It may be thousands of times larger than other tokens: too large for float16.
        tensors[BOS] = cast(bos_LD, "float32", f"{BOS} at step {step}")
    return tensors


def cast(x_ND: Tensor, dtype: str, what: str) -> Tensor:
    """A copy of ``x_ND`` on the CPU in one of :data:`DTYPES`.

    Args:
        x_ND: On any device.
        dtype: Name of the target.
        what: What the message calls it.

    Raises:
        ValueError: If a finite value exceeds the dtype.
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
