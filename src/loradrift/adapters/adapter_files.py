"""The one reader of PEFT's LoRA adapters: configuration, factors, what was saved beside them.

A module's scale is its own configuration's: alpha / R, or alpha / sqrt(R) for rsLoRA (Kalajdzievski
2023, arXiv:2312.03732), after ``rank_pattern`` and ``alpha_pattern``.
"""

# Shape suffixes: O outputs, I inputs, R rank, N rows.

import hashlib
import math
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from loradrift.adapters.adapter_config import CONFIG, read_config
from loradrift.adapters.convolutions import as_factors
from loradrift.config import UserError
from loradrift.runs.model_files import ADAPTER_WEIGHTS, HEAD
from loradrift.weights import LowRank, dora_change
from loradrift.weights.stored import finite, is_pickle, opened

WEIGHTS = ADAPTER_WEIGHTS
MAGNITUDE = "lora_magnitude_vector"
ROWS = "trainable_tokens_delta"
"""How the key of an embedding's trained rows ends."""

PREFIX = "base_model.model."
"""What PEFT puts before the name of a module."""

FACTOR = re.compile(
    rf"(?P<module>.+)\.(?P<part>lora_(embedding_)?[AB]|{MAGNITUDE})"
    r"(?P<adapter>\.(?!weight|bias)[^.]+)?(?P<kind>\.weight|\.bias)?"
)
"""A factor's key. PEFT's files hold no name of the adapter, its models' ``state_dict()`` does."""

NOT_PLAIN = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication",
    "monteclora_config", "target_parameters", "use_bdlora", "use_qalora",
)  # fmt: skip
"""Settings of PEFT's LoRA under which the change of a weight is not ``scale * B A``."""


@dataclass(frozen=True)
class Factors:
    """What the files add to one module: ``scale * (B A x + b)``, under DoRA with its magnitudes."""

    low_rank: LowRank
    bias_O: Tensor | None = None
    magnitude_O: Tensor | None = None

    def times(self, scale: float) -> "Factors":
        """The same factors, as PEFT applies an adapter with this scale."""
        return replace(self, low_rank=replace(self.low_rank, scale=scale * self.low_rank.scale))

    def dense(self, weight_OI: Tensor) -> Tensor:
        """The change (O, I) of a base weight, in float64."""
        change = self.low_rank
        if self.magnitude_O is not None:
            return dora_change(weight_OI, change, self.magnitude_O)
        return change.scale * change.B_OR @ change.A_RI

    def on(self, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        """The change (N, O) of the module's output for the input ``x_NI``, or ``ids_N``."""
        change = self.low_rank
        if not x_NI.is_floating_point():  # ids of an embedding: columns of what it multiplies
            if self.magnitude_O is not None:
                return self.dense(weight_OI)[:, x_NI].T
            return change.scale * change.A_RI[:, x_NI].T @ change.B_OR.T
        x_NI = x_NI.double()
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
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by the name that :func:`plain_key` gives it."""
        factors = {f"{k}.{part}": x for k, parts in self.parts.items() for part, x in parts.items()}
        return factors | self.saved

    @property
    def not_plain(self) -> str | None:
        """A setting under which the files are not the whole change, by the formula of Factors."""
        return next((key for key in NOT_PLAIN if self.config.get(key)), None)

    def rank(self, module: str) -> int:
        """``r``, or what ``rank_pattern`` says of this module."""
        return int(self._setting("r", "rank_pattern", module))

    def scale(self, module: str) -> float:
        """Alpha / r or, with rsLoRA, alpha / sqrt(r), by the patterns of this module."""
        rank = self.rank(module)
        alpha = self._setting("lora_alpha", "alpha_pattern", module)
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _setting(self, key: str, patterns: str, module: str) -> float:
        """The first pattern that matches takes precedence, as in PEFT."""
        for pattern, value in (self.config.get(patterns) or {}).items():
            if matches(pattern, module):
                return float(value)
        return float(self.config[key])

    def factors(self, module: str) -> Factors | None:
        """The change of one module; None for an incomplete or absent one."""
        parts = self.parts.get(module, {})
        kind = "lora_embedding" if "lora_embedding_A" in parts else "lora"
        if not {f"{kind}_A", f"{kind}_B"} <= parts.keys():
            return None
        matrices = as_factors(parts[f"{kind}_B"], parts[f"{kind}_A"])
        if matrices is None:
            return None
        magnitude = parts.get(MAGNITUDE)
        change = LowRank(*matrices, self.scale(module))
        magnitude_O = None if magnitude is None else magnitude.flatten()
        return Factors(change, parts.get("lora_B.bias"), magnitude_O)


def matches(pattern: str, module: str) -> bool:
    """Whether a key of ``rank_pattern`` or ``alpha_pattern`` means this module, as in PEFT."""
    return re.fullmatch(rf"(.*\.)?({pattern})", module) is not None


def plain_key(key: str) -> str:
    """A key of PEFT's without its prefix, and of a factor without what need not be there.

    Example:
        >>> plain_key("base_model.model.q_proj.lora_B.default.bias")
        'q_proj.lora_B.bias'
    """
    name = key.removeprefix(PREFIX)
    match = FACTOR.fullmatch(name)
    bias = ".bias" if match and match["kind"] == ".bias" else ""
    return f"{match['module']}.{match['part']}{bias}" if match else name


def read_files(folder: Path) -> AdapterFiles:
    """Read, check and hash an adapter's folder.

    Raises:
        UserError: If it is no adapter, or a file is damaged, a pickle, or not finite.

    Example:
        >>> import json, tempfile, torch, safetensors.torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": True}
        >>> _ = (folder / CONFIG).write_text(json.dumps(config))
        >>> q = {f"{PREFIX}q_proj.lora_{part}.weight": torch.ones(1, 1) for part in "AB"}
        >>> safetensors.torch.save_file(q, folder / WEIGHTS)
        >>> read_files(folder).scale("q_proj")
        4.0
    """
    path = folder / WEIGHTS
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is no adapter: it has no {CONFIG}")
    config = read_config(folder / CONFIG)
    if not path.is_file():
        raise UserError(f"{folder} holds no {WEIGHTS}{_misnamed(folder)}")
    parts: dict[str, dict[str, Tensor]] = {}
    saved: dict[str, Tensor] = {}
    odd: list[str] = []
    for key, tensor in _tensors(path).items():
        name = key.removeprefix(PREFIX)
        match = FACTOR.fullmatch(name)
        if match is None:
            saved[name] = tensor
            continue
        if name == key or match["adapter"]:
            odd.append(key)
        if not tensor.is_floating_point():
            raise UserError(f"{path}: {key} must hold real numbers, got {tensor.dtype}")
        kind = ".bias" if match["kind"] == ".bias" else ""
        parts.setdefault(match["module"], {})[match["part"] + kind] = tensor
    if not parts:
        raise UserError(f"{path} holds no LoRA factors")
    head = _tensors(folder / HEAD) if (folder / HEAD).is_file() else None
    names = (CONFIG, WEIGHTS) if head is None else (CONFIG, WEIGHTS, HEAD)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return AdapterFiles(folder, config, parts, saved, head, digests, tuple(odd))


SHARD = re.compile(r"adapter_model-\d{5}-of-\d{5}\.safetensors")
"""The name of a part of :data:`WEIGHTS`, where it was split."""

TRAINER = ("optimizer", "rng_state", "scaler", "scheduler", "training_args")
"""How files begin that transformers' Trainer puts beside an adapter."""


def _misnamed(folder: Path) -> str:
    """What lies there instead of the weights: they in shards or another file, or a pickle."""
    suffixes = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")
    found = [
        path for path in sorted(folder.iterdir()) if path.suffix in suffixes and path.is_file()
    ]
    others = [path for path in found if path.name != HEAD and not path.name.startswith(TRAINER)]
    if shards := [path.name for path in others if SHARD.fullmatch(path.name)]:
        count = int(shards[0].rpartition("-of-")[2].removesuffix(".safetensors"))
        whole = "whole" if len(shards) == count else "not whole"
        return f"; it is split into {count} shards, of which {len(shards)} are here: {whole}"
    factors = []
    for path in others:
        with suppress(UserError), opened(path) as file:
            if any("lora_" in key for key in file.keys()):  # noqa: SIM118 - no mapping
                factors.append(path.name)
    if len(factors) > 1:
        return f"; {' and '.join(factors)} hold factors: which of them cannot be told"
    if factors:
        return f"; {factors[0]} is a safetensors file under another name"
    for path in others:
        if is_pickle(path):
            return f"; {path.name} is a pickle, which can run code and is not loaded"
    names = [path.name for path in others if path.stem == Path(WEIGHTS).stem]
    return f"; {names[0]} is neither a whole safetensors file nor a pickle" if names else ""


def _tensors(path: Path) -> dict[str, Tensor]:
    with opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in list(file.keys())}
    for key, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[key] = finite(tensor.double(), path, key)  # double first: float8 has no test
    return tensors
