"""A PEFT LoRA adapter as its files say: configuration, factors, what was saved beside them."""

# Shape suffixes: O outputs, I inputs, R rank, N rows.

import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loradrift.adapters.peft_schema import check_settings
from loradrift.config import UserError
from loradrift.weights.delta import MAGNITUDE, NOT_PLAIN, setting
from loradrift.weights.low_rank import LowRank, apply_to
from loradrift.weights.stored import finite, opened, read_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
HEAD = "head.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the name of a module."""

FACTOR = re.compile(
    rf"(?P<module>.+)\.(?P<part>lora_(embedding_)?[AB]|{MAGNITUDE})"
    r"(?P<adapter>\.(?!weight|bias)[^.]+)?(?P<kind>\.weight|\.bias)?"
)
"""A factor's key. PEFT's files hold no name of the adapter, its models' ``state_dict()`` does."""


@dataclass(frozen=True)
class Factors:
    """What the files add to one module: ``scale * (B A x + b)``, under DoRA with its magnitudes."""

    low_rank: LowRank
    bias_O: Tensor | None = None
    magnitude_O: Tensor | None = None

    def dense(self, weight_OI: Tensor) -> Tensor:
        """The change (O, I) of a base weight, in float64."""
        change, weight_OI = self.low_rank, weight_OI.double()
        if self.magnitude_O is None:
            return change.scale * change.B_OR @ change.A_RI
        adapted_OI = apply_to(weight_OI, change)
        stretch_O1 = (self.magnitude_O / adapted_OI.norm(dim=1))[:, None]
        dense_OI: Tensor = stretch_O1 * adapted_OI - weight_OI
        return dense_OI

    def on(self, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        """The change (N, O) of the module's output for the input ``x_NI``."""
        change, x_NI = self.low_rank, x_NI.double()
        if self.magnitude_O is not None:
            y_NO = x_NI @ self.dense(weight_OI).T
        else:
            y_NO = change.scale * (x_NI @ change.A_RI.T) @ change.B_OR.T
        return y_NO if self.bias_O is None else y_NO + change.scale * self.bias_O


@dataclass(frozen=True)
class AdapterFiles:
    """Everything in an adapter's folder, read and hashed."""

    folder: Path
    config: dict[str, Any]
    parts: dict[str, dict[str, Tensor]]
    """Factors of each module by PEFT's own names (``lora_A``, ``lora_B.bias``, …), in float64."""

    saved: dict[str, Tensor]
    """What is no factor, by its name in the base model: ``modules_to_save``, biases."""

    head: dict[str, Tensor] | None
    """``head.safetensors`` of our own runs."""

    sha256: dict[str, str] = field(default_factory=dict)
    odd_keys: tuple[str, ...] = ()
    """Keys that are not written as PEFT writes and finds them."""

    @property
    def plain(self) -> bool:
        """Whether the files are the whole change, by the formula of :class:`Factors`."""
        return not any(self.config.get(key) for key in NOT_PLAIN if key != "fan_in_fan_out")

    @property
    def name(self) -> str:
        """The folder, as shown in messages."""
        return str(self.folder)

    def scale(self, module: str) -> float:
        """The scale: alpha / r or, with rsLoRA, alpha / sqrt(r), by the patterns of this module.

        Raises:
            UserError: If the configuration holds no positive numbers.
        """
        path = self.folder / WEIGHTS
        alpha = setting(path, self.config, "lora_alpha", "alpha_pattern", module)
        return alpha / (
            math.sqrt(self.rank(module)) if self.config.get("use_rslora") else self.rank(module)
        )

    def rank(self, module: str) -> float:
        """``r`` or what ``rank_pattern`` says of this module.

        Raises:
            UserError: If the configuration holds no positive number.
        """
        return setting(self.folder / WEIGHTS, self.config, "r", "rank_pattern", module)

    def factors(self, module: str) -> Factors | None:
        """The change of a linear module; None for an embedding or an incomplete one."""
        parts = self.parts[module]
        if not {"lora_A", "lora_B"} <= parts.keys():
            return None
        change = LowRank(parts["lora_B"], parts["lora_A"], self.scale(module))
        return Factors(change, parts.get("lora_B.bias"), parts.get(MAGNITUDE))


def read_files(folder: Path) -> AdapterFiles:
    """Read, check and hash an adapter's folder.

    Raises:
        UserError: If it is no adapter, or a file is damaged, a pickle, or not finite.
    """
    path = folder / WEIGHTS
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is no adapter: it has no {CONFIG}")
    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise UserError(f"{folder / CONFIG}: peft_type must be LORA, got {config.get('peft_type')}")
    check_settings(folder / CONFIG, config)
    if not path.is_file():
        pickled = [name.name for name in (*folder.glob("*.bin"), *folder.glob("*.pt"))]
        why = f"; {pickled[0]} is a pickle, which can run code and is not loaded" if pickled else ""
        raise UserError(f"{folder} holds no {WEIGHTS}{why}")
    parts: dict[str, dict[str, Tensor]] = {}
    saved: dict[str, Tensor] = {}
    odd: list[str] = []
    for key, tensor in _tensors(path).items():
        name = key.removeprefix(PREFIX)
        match = FACTOR.fullmatch(name)
        if match and (name == key or match["adapter"]):
            odd.append(key)
        if match:
            if not tensor.is_floating_point():
                raise UserError(f"{path}: {key} must hold real numbers, got {tensor.dtype}")
            kind = ".bias" if match["kind"] == ".bias" else ""
            parts.setdefault(match["module"], {})[match["part"] + kind] = tensor
        else:
            saved[name] = tensor
    if not parts:
        raise UserError(f"{path} holds no LoRA factors")
    head = _tensors(folder / HEAD) if (folder / HEAD).is_file() else None
    names = [CONFIG, WEIGHTS, *([HEAD] if head is not None else [])]
    digests = {name: sha256(folder / name) for name in names}
    return AdapterFiles(folder, config, parts, saved, head, digests, tuple(odd))


def _tensors(path: Path) -> dict[str, Tensor]:
    with opened(path) as file:
        keys = list(file.keys())
        return {key: _whole(file.get_tensor(key), path, key) for key in keys}


def _whole(tensor: Tensor, path: Path, key: str) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return finite(tensor.double(), path, key)  # before the test: float8 has none


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_matrix(weight: Tensor, transposed: bool) -> Tensor:
    """A stored weight as (O, I); GPT-2's ``Conv1D`` keeps it the other way round."""
    matrix = weight.T if transposed else weight
    return matrix.detach().to("cpu", torch.float64)
