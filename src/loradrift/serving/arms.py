"""What is compared: a way to serve models, and the engine that it takes.

No arm asks the base model beside adapters, in one batch. On a CPU vLLM's kernels give rows of the
base the last slot's adapter once every slot was used: engines refuse such a batch there, rather
than answer wrongly, and nobody would wait for a time that cannot be had elsewhere.
"""

from collections.abc import Sequence
from typing import NamedTuple

from loradrift.config.benchmarks import RANKS
from loradrift.serving.config import ServingConfig

MOST_MERGED = 4
"""Merged models that are arms: all are of one shape, so that more would tell nothing new."""


class Arm(NamedTuple):
    """One way to serve; None is the engine's own choice."""

    name: str
    kind: str
    adapters: tuple[str, ...] = ()
    max_loras: int | None = None
    max_cpu_loras: int | None = None
    max_lora_rank: int | None = None

    @property
    def merged(self) -> bool:
        """Whether each of its adapters is merged into a model of its own."""
        return self.kind in ("merged", "engines")

    @property
    def lora(self) -> bool:
        """Whether its engine takes adapters."""
        return self.kind not in ("baseline", "merged", "engines")


def make_arms(
    adapters: Sequence[str], rank: int, engine: str, settings: ServingConfig
) -> tuple[Arm, ...]:
    """The arms that an engine can serve; ``rank`` is the adapters' largest."""
    names, counts = tuple(adapters), sorted(settings.adapters)
    merged = names[: min(MOST_MERGED, counts[-1])]
    arms = [Arm("baseline", "baseline")]
    arms += [Arm(f"merged_{name}", "merged", (name,)) for name in merged]
    for count in counts:
        kind = "single" if count == 1 else "multi"
        arms.append(Arm(side_by_side(count), kind, names[:count], max_loras=count))
    if engine == "hf":
        return tuple(arm._replace(max_loras=None) for arm in arms)
    arms.append(Arm("lora_enabled_base", "lora_enabled_base", max_loras=1, max_lora_rank=rank))
    few, reserved = next((n for n in counts if n > 1), 1), settings.declared_rank
    if reserved is not None and round_up(reserved) > round_up(rank):
        name = f"{side_by_side(few)}_rank_{reserved}"
        arms.append(Arm(name, "declared_rank", names[:few], few, None, reserved))
    if settings.slots is not None and counts[-1] > settings.slots:
        name = f"{side_by_side(counts[-1])}_{settings.slots}_slots"
        own = names[: counts[-1]]
        arms.append(Arm(name, "few_slots", own, settings.slots, len(own)))
        if settings.full:  # those that have no slot are in their files alone
            kept = f"{side_by_side(counts[-1])}_{settings.slots}_in_memory"
            arms.append(Arm(kept, "few_in_memory", own, settings.slots, settings.slots))
    if settings.full and len(merged) > 1:
        arms.append(Arm("n_merged_engines", "engines", merged))
    return tuple(arms)


def side_by_side(count: int) -> str:
    """What the arm with so many adapters in one engine is called."""
    return "single_adapter" if count == 1 else f"multi_{count}_adapters"


def round_up(rank: int) -> int:
    """The rank that vLLM reserves for one.

    >>> round_up(9)
    16
    """
    return next((each for each in RANKS if each >= rank), rank)
