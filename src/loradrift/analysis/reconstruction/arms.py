"""The arms of the comparison: how a run's language model was adapted."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loradrift.config.keys import flatten
from loradrift.report.style import METHODS

NAMES = METHODS | {"head_only": "frozen model"}
"""Method -> how it is written; with ``head_only`` the language model stays as it is."""

NAMED = ("rank", "alpha", "layers")
"""Settings of a method that every arm's name says."""


class Arm(NamedTuple):
    """A method with what makes it another arm."""

    method: str
    rank: int | None = None
    alpha: float | None = None
    layers: str | None = None
    """``all``, or how many of the first blocks are adapted."""

    adapt: str | None = None
    """``decoder``, ``encoder`` or ``both``."""

    variant: str = ""
    """Other settings of the method, where they vary among the runs."""

    @property
    def text(self) -> str:
        """``LoRA r=8 alpha=16, 2 blocks``."""
        words = NAMES.get(self.method, self.method)
        if self.rank is not None:
            words = f"{words} r={self.rank} alpha={self.alpha:g}, {self.blocks}"
        if self.adapt in ("encoder", "both"):
            words += ", encoder" if self.adapt == "encoder" else ", encoder and decoder"
        return f"{words} ({self.variant})" if self.variant else words

    @property
    def named(self) -> str:
        """The arm in a sentence: ``the frozen model``."""
        return f"the {self.text}" if self.method == "head_only" else self.text

    @property
    def blocks(self) -> str:
        """``all blocks``."""
        if self.layers in (None, "all"):
            return "all blocks"
        return f"{self.layers} block" + "s" * (self.layers != "1")

    @property
    def order(self) -> tuple[Any, ...]:
        """The place in reports: without rank first, then by size."""
        depth = float("inf") if self.layers in (None, "all") else float(str(self.layers))
        return (
            self.rank is not None, self.method, self.rank or 0, depth, self.alpha or 0,
            self.adapt or "", self.variant,
        )  # fmt: skip


def arms_of(configs: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """The arm of each run's configuration, in order."""
    plain = [_arm(config) for config in configs]
    others = [_others(config) for config in configs]
    found = []
    for arm, own in zip(plain, others, strict=True):
        kin = [each for each, other in zip(others, plain, strict=True) if other == arm]
        varying = [key for key in own if any(each.get(key) != own[key] for each in kin)]
        found.append(arm._replace(variant=", ".join(f"{key}={own[key]}" for key in varying)))
    return found


def _arm(config: Mapping[str, Any]) -> Arm:
    method, name = config["method"], str(config["method"]["name"])
    if "rank" not in method:
        return Arm(name)
    layers, adapt = method.get("layers", "all"), config["task"].get("adapt", "decoder")
    return Arm(name, int(method["rank"]), float(method["alpha"]), str(layers), str(adapt))


def _others(config: Mapping[str, Any]) -> dict[str, str]:
    """All other settings of a method, as they are typed."""
    flat = flatten(config["method"])
    return {
        f"method.{key}": str(value)
        for key, value in sorted(flat.items())
        if key not in ("name", *NAMED)
    }
