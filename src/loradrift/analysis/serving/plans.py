"""What a cell of the serving benchmark set out to measure: its ``plan.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

SCHEMA = 1
"""The schema of the cells that are read."""

BASE = "base"
"""How tables name the base model among adapters."""

ENGINES = {"vllm": "vLLM", "vllm_server": "vLLM's server", "hf": "transformers and PEFT"}
DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
PHASES = ("offline", "closed_loop", "open_loop")
"""How requests are asked: in batches, so many at a time, or so many a second."""

COLD, SEARCH = "cold", "rate_search"
"""Phases that are checked and not timed: first requests, and what a server is asked to find the
rates that it can bear."""

MIXES = {
    "round_robin": "adapters in turn",
    "uniform": "adapters drawn with equal chances",
    "zipf": "adapters drawn by Zipf's law",
    "one_hot": "all requests to one adapter",
}
"""How a report writes the choices of the configuration."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """One of the adapters that are served."""

    name: str
    label: str
    rank: int
    task: str | None = None
    drawn: bool = False
    data: str | None = None
    """What it was trained on: ``generated`` or ``real``; None where that is not known."""

    @property
    def kind(self) -> str:
        """How a report writes where the adapter comes from."""
        return "adapters with random factors" if self.drawn else f"adapters of {_rows(self.data)}"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to serve: which adapters are in the engine, and how it is set up."""

    name: str
    kind: str
    adapters: tuple[str, ...] = ()
    max_loras: int | None = None
    max_cpu_loras: int | None = None
    max_lora_rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured in a cell, and in what order of words a report names it."""

    engine: str
    kernels: str
    model: Mapping[str, Any]
    dtype: str
    mix: str
    batch_sizes: Sequence[int]
    rounds: int
    max_tokens: int
    prompts: str
    prompt_length: int
    latency_target_s: float
    adapters: Sequence[Adapter]
    arms: Sequence[Arm]
    accelerator: str = "cpu"
    threads: int | None = None
    tiny_note: str = ""
    full: bool = False
    cannot_tell_apart: Sequence[Sequence[Any]] = field(default_factory=list)
    prompt_data: str | None = None
    """Whose rows the prompts are: ``generated``, ``real`` or both."""

    @property
    def merged(self) -> list[str]:
        """The names of the merged models' arms."""
        return [arm.name for arm in self.arms if arm.kind == "merged"]

    def arm(self, name: str) -> Arm:
        """The arm of that name; ``merged`` is all merged arms together."""
        return next((arm for arm in self.arms if arm.name == name), MERGED)

    def label(self, name: str) -> str:
        """How a report writes the arm of that name."""
        return arm_label(self.arm(name), self)

    def of_kind(self, *kinds: str) -> list[Arm]:
        """The arms of some kinds, in the plan's order."""
        return [arm for arm in self.arms if arm.kind in kinds]

    def adapter_label(self, name: str | None) -> str:
        """How a report writes an adapter; None and ``base`` are the base model."""
        if name in (None, BASE):
            return "base model"
        return next((each.label for each in self.adapters if each.name == name), str(name))

    def setting(self) -> str:
        """``vLLM, CPU reference kernels, fp32``: what every figure stands for."""
        engine = ENGINES.get(self.engine, self.engine)
        kernels = self.kernels or ("on the CPU" if self.accelerator == "cpu" else "on the GPU")
        return ", ".join([engine, kernels, DTYPES.get(self.dtype, self.dtype)])

    def data(self) -> str:
        """Where the adapters and the prompts come from: nothing is called real that may not be."""
        kinds = dict.fromkeys(each.kind for each in self.adapters)
        rows = "drawn tokens" if self.prompts == "fixed" else _rows(self.prompt_data)
        alike = f"adapters of {rows}"
        if self.prompt_data is None or alike not in kinds:
            return ", ".join([*kinds, f"prompts of {rows}"])
        others = [each for each in kinds if each != alike]
        return " and ".join([rows, *others])


def _rows(data: str | None) -> str:
    return "unknown data" if data is None else f"{data} data"


KINDS = (
    "baseline", "lora_enabled_base", "merged", "single", "multi", "declared_rank", "few_slots",
    "few_in_memory", "engines",
)  # fmt: skip
"""The kinds of arms, in the order in which reports show them."""

MERGED = Arm(name="merged", kind="merged")
"""All merged arms together."""


def read_plan(saved: Mapping[str, Any]) -> Plan:
    """The plan in a file's object; keys that are not known are left alone.

    Raises:
        ValueError: If it is of another schema, or lacks something; says which.
    """
    if (schema := saved.get("schema")) != SCHEMA:
        raise ValueError(f"it has schema {schema!r}, and this program reads schema {SCHEMA}")
    try:
        saved = _with_origins(saved)
        parts = {
            "adapters": [_made(Adapter, each) for each in saved["adapters"]],
            "arms": sorted((_made(Arm, each | {"adapters": tuple(each["adapters"])})
                            for each in saved["arms"]), key=_place),
        }  # fmt: skip
        plan: Plan = _made(Plan, {**saved, **parts})
        if lost := [key for key in ("name", "label") if key not in plan.model]:
            raise KeyError(f"model.{lost[0]}")
    except KeyError as error:
        raise ValueError(f"it lacks {error.args[0]}") from None
    except TypeError as error:
        raise ValueError(f"it is no plan: {error}") from None
    return plan


def _with_origins(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """A plan from before origins were written: labels say what is generated, nothing what is not.

    Prompts were rows of the adapters' own tasks.
    """
    if "prompt_data" in saved or "adapters" not in saved:
        return saved
    adapters = [
        each | {"data": "generated" if "(generated)" in each["label"] else None}
        for each in saved["adapters"]
    ]
    data = "generated" if any(each["data"] for each in adapters) else None
    return {**saved, "adapters": adapters, "prompt_data": data}


def _place(arm: Arm) -> int:
    """Where an arm stands in reports: by its kind, and as planned within it."""
    return KINDS.index(arm.kind) if arm.kind in KINDS else len(KINDS)


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """An object of those values that its class knows."""
    return kind(**{each.name: values[each.name] for each in fields(kind) if each.name in values})


def arm_label(arm: Arm, plan: Plan) -> str:
    """How a report writes an arm."""
    count = len(arm.adapters)
    adapters = f"{count} adapter{'s' * (count != 1)}"
    one = plan.adapter_label(arm.adapters[0]) if count else ""
    labels = {
        "baseline": "base model",
        "lora_enabled_base": "base model, LoRA enabled",
        "merged": f"merged: {one}" if count else "merged models",
        "single": adapters,
        "multi": adapters,
        "declared_rank": f"{adapters}, rank {arm.max_lora_rank} declared",
        "few_slots": f"{adapters}, {arm.max_loras} slots",
        "few_in_memory": f"{adapters}, {arm.max_cpu_loras} in memory",
        "engines": f"{count} merged engines",
    }
    return labels.get(arm.kind, arm.name)
