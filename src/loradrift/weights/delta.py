"""What training changed, read from the files that it left: module by module, never as a pickle.

Both kinds of training name modules alike (``model.layers.0.self_attn.q_proj``). The scale of a LoRA
change is its own configuration's: alpha / R, or alpha / sqrt(R) for rsLoRA (Kalajdzievski 2023,
arXiv:2312.03732). DoRA (Liu et al. 2024, arXiv:2402.09353, eq. 5) is a dense change.
"""

# Shape suffixes: O outputs, I inputs, R rank.

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from loradrift.config import UserError
from loradrift.weights.low_rank import Change, LowRank, apply_to
from loradrift.weights.stored import StoredWeights, finite, opened, read_json

MAGNITUDE = "lora_magnitude_vector"
FACTOR = re.compile(
    rf"base_model\.model\.(?P<module>.+)\.(?P<part>lora_A|lora_B|{MAGNITUDE})(\.weight)?"
)
EMBEDDING = re.compile(r"(.*\.)?(wte|wpe|\w*embed\w*)")
"""Modules whose 2-D weight is a table of rows, not a linear map."""

NOT_PLAIN = (
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
)
"""Settings of PEFT's LoRA under which the change of a stored weight is not ``scale * B A``."""

MOVES_BASE = ("corda", "loftq", "lora_ga", "olora", "pissa")
"""Starts of LoRA that take the adapter's first product out of the base weight."""


class Dense(NamedTuple):
    """A change by full fine-tuning: tuned minus base, read when asked for."""

    base: StoredWeights
    tuned: StoredWeights
    key: str

    def read(self) -> Tensor:
        """The difference in float64.

        Raises:
            UserError: If a file cannot be read.
        """
        return self.tuned.read(self.key) - self.base.read(self.key)


class Dora(NamedTuple):
    """A change by DoRA: rows of the adapted weight, set to learned lengths; dense when read."""

    base: StoredWeights
    key: str
    factors: LowRank
    magnitude_O: Tensor

    def read(self) -> Tensor:
        """``m (W + s B A) / |W + s B A| - W`` with norms of rows, in float64.

        Raises:
            UserError: If a file cannot be read.
        """
        base_OI = self.base.read(self.key)
        adapted_OI = apply_to(base_OI, self.factors)
        stretch_O1 = (self.magnitude_O / adapted_OI.norm(dim=1))[:, None]
        change_OI: Tensor = stretch_O1 * adapted_OI - base_OI
        return change_OI


def read_change(change: LowRank | Dense | Dora) -> Change:
    """What the formulas work on: factors as they are, anything else read now.

    Raises:
        UserError: If a file cannot be read.
    """
    return change if isinstance(change, LowRank) else change.read()


class FullChange(NamedTuple):
    """What full fine-tuning may have changed."""

    modules: dict[str, Dense]
    """Linear layers by module name."""

    others: dict[str, Dense]
    """Everything else by tensor name: norms, embeddings, biases."""


def read_full(base: StoredWeights, tuned: StoredWeights) -> FullChange:
    """Pair the tensors of two folders, reading none.

    Raises:
        UserError: If a tensor has no partner, or one of another shape.
    """
    for here, there in ((base, tuned), (tuned, base)):
        if lost := sorted(here.shapes.keys() - there.shapes.keys()):
            raise UserError(
                f"{there.folder} lacks {_some(lost)}, which {here.folder} has: these are not one "
                "model before and after training"
            )
    change = FullChange({}, {})
    for key, shape in base.shapes.items():
        if tuned.shapes[key] != shape:
            raise UserError(
                f"{key} has shape {shape} in {base.folder} and {tuned.shapes[key]} in "
                f"{tuned.folder}"
            )
        module = key.removesuffix(".weight")
        is_linear = module != key and len(shape) == 2 and not EMBEDDING.fullmatch(module)
        group, name = (change.modules, module) if is_linear else (change.others, key)
        group[name] = Dense(base, tuned, key)
    return change


def read_adapter(folder: Path, base: StoredWeights | None = None) -> dict[str, LowRank | Dora]:
    """The changes of a PEFT LoRA adapter by module name.

    Args:
        folder: With ``adapter_config.json`` and ``adapter_model.safetensors``.
        base: Weights that the adapter belongs to: every module must be among them. DoRA needs it.

    Raises:
        UserError: If a file is absent or damaged, if factors are missing or do not fit, or if the
            factors are not the whole change.
    """
    config = _read_config(folder)
    path = folder / "adapter_model.safetensors"
    changes: dict[str, LowRank | Dora] = {}
    for module, parts in _read_parts(path).items():
        factors = _factors(path, module, parts, config)
        key = f"{module}.weight"
        if base is not None and base.shapes.get(key) != tuple(factors.shape):
            raise UserError(
                f"{path}: {module} changes a weight of shape {tuple(factors.shape)}, and "
                f"{base.folder} has {base.shapes.get(key, 'none')} there"
            )
        if MAGNITUDE not in parts:
            changes[module] = factors
        elif base is None:
            raise UserError(
                f"{folder} was trained with use_dora=true: its magnitudes rescale the rows of the "
                "base weight as well, so the factors are not the whole change; give the base "
                "model's weights"
            )
        else:
            changes[module] = Dora(base, key, factors, parts[MAGNITUDE])
    return changes


def _read_config(folder: Path) -> dict[str, Any]:
    """``adapter_config.json``, if ``scale * B A`` is what such an adapter adds."""
    path = folder / "adapter_config.json"
    config = read_json(path)
    if config.get("peft_type") != "LORA":
        raise UserError(f"{path}: peft_type must be LORA, got {config.get('peft_type')}")
    for key in NOT_PLAIN:
        if config.get(key):
            raise UserError(
                f"{path}: {key}={config[key]} makes the change another one than scale * B A: "
                "not supported"
            )
    start = str(config.get("init_lora_weights"))
    if start.startswith(MOVES_BASE):
        raise UserError(
            f"{path}: init_lora_weights={start} took a part out of the base weight, so the factors "
            "are not the change against it; save the adapter converted "
            "(path_initial_model_for_weight_conversion)"
        )
    return config


def _read_parts(path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each module, by ``lora_A``, ``lora_B`` and ``lora_magnitude_vector``."""
    if not path.is_file() and path.with_suffix(".bin").exists():
        raise UserError(f"{path.with_suffix('.bin')} is a pickle, which is not loaded")
    modules: dict[str, dict[str, Tensor]] = {}
    with opened(path) as file:
        for key in file.keys():  # noqa: SIM118 - no mapping
            match = FACTOR.fullmatch(key)
            if not match:
                raise UserError(
                    f"{path} holds {key}, which is no LoRA factor of a linear layer: the factors "
                    "would not be the whole change"
                )
            parts = modules.setdefault(match["module"], {})
            parts[match["part"]] = finite(file.get_tensor(key), path, key)
    if not modules:
        raise UserError(f"{path} holds no tensors")
    return modules


def _factors(path: Path, module: str, parts: dict[str, Tensor], config: dict[str, Any]) -> LowRank:
    wanted = {"lora_A", "lora_B"} | ({MAGNITUDE} if config.get("use_dora") else set())
    if odd := sorted(wanted ^ parts.keys()):
        rule = "has no" if odd[0] in wanted else "has, without use_dora, a"
        raise UserError(f"{path} {rule} {odd[0]} for {module}")
    A_RI, B_OR = parts["lora_A"], parts["lora_B"]
    rank = setting(path, config, "r", "rank_pattern", module)
    alpha = setting(path, config, "lora_alpha", "alpha_pattern", module)
    if A_RI.ndim != 2 or B_OR.ndim != 2 or not len(A_RI) == B_OR.shape[1] == rank:
        raise UserError(
            f"{path}: {module} has factors B {tuple(B_OR.shape)} and A {tuple(A_RI.shape)}, which "
            f"do not fit the rank {rank:g} of adapter_config.json"
        )
    return LowRank(B_OR, A_RI, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def setting(path: Path, config: dict[str, Any], key: str, patterns_key: str, module: str) -> float:
    """``r`` or ``lora_alpha`` of one module; the first pattern that matches wins, as in PEFT."""
    value = config.get(key)
    for pattern, special in (config.get(patterns_key) or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            value = special
            break
    if not isinstance(value, int | float) or value <= 0:
        raise UserError(
            f"{path.with_name('adapter_config.json')}: {key} of {module} must be positive, "
            f"got {value}"
        )
    return float(value)


def _some(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
