"""Which runs may be compared: those that differ in the arm and the seed alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.reading import ReconstructionRun
from loradrift.config import UserError, check

PRINTS = ("evaluation_rows", "train_rows", "tokenization", "metric", "base_model")
"""Fingerprints that a fair comparison needs to be equal."""

SIZES = ("task.num_latents", "task.d_z", "task.latent_bits")
"""What a latent's bytes are made of: the axis of the rate-distortion curve."""

OF_ARM = ("task.name", "task.adapt")

Setting = frozenset[tuple[str, str]]
"""Everything but arm and seed: keys, fingerprints and steps with their values."""


def setting_of(run: ReconstructionRun) -> Setting:
    """What a run has in common with those that it may be compared with."""
    items: dict[str, Any] = {
        key: value
        for key, value in run.flat.items()
        if key.startswith("task.") and key not in OF_ARM
    }
    items |= {f"fingerprint of {name}": run.record.fingerprints.get(name) for name in PRINTS}
    items |= {"steps": run.record.steps, "trainer.precision": run.flat.get("trainer.precision")}
    return frozenset((key, str(value)) for key, value in items.items())


def family_of(setting: Setting) -> Setting:
    """The setting without the sizes of its latents."""
    return frozenset((key, value) for key, value in setting if key not in SIZES)


def belongs(run: ReconstructionRun, setting: Setting) -> bool:
    """Whether a run has the setting; one that was ended when it collapsed has other steps."""
    return _but_steps(setting_of(run), run) == _but_steps(setting, run)


def of_family(run: ReconstructionRun, setting: Setting) -> bool:
    """Whether a run has the setting but for the sizes of its latents."""
    own, wanted = (_but_steps(family_of(each), run) for each in (setting_of(run), setting))
    return own == wanted


def _but_steps(setting: Setting, run: ReconstructionRun) -> Setting:
    return frozenset((k, v) for k, v in setting if not (run.collapsed and k == "steps"))


def difference(one: Setting, other: Setting) -> str:
    """What of ``one`` differs from ``other``: ``task.num_latents=4``."""
    known = dict(other)
    changed = sorted((key, value) for key, value in one if known.get(key, value) != value)
    return ", ".join(
        key if key.startswith("fingerprint") else f"{key}={value}" for key, value in changed
    )


def chosen_runs(
    runs: Sequence[ReconstructionRun], wanted: Sequence[str]
) -> list[ReconstructionRun]:
    """The runs whose configuration has these values.

    Raises:
        UserError: If there are none; names the values that there are.
    """
    found = list(runs)
    for each in wanted:
        key, mark, value = each.partition("=")
        check(bool(key and mark and value), "setting", "some of key=value", each)
        there = sorted({str(run.flat.get(key)) for run in found})
        found = [run for run in found if str(run.flat.get(key)) == value]
        if not found:
            raise UserError(f"setting={each}: no run has it; {key} is {', '.join(there)}")
    return found


def main_setting(
    runs: Sequence[ReconstructionRun], arms: Mapping[ReconstructionRun, Arm], baseline: str
) -> Setting:
    """The setting with the most arms beside the baseline; of equal ones that of most runs.

    Raises:
        UserError: If no setting has the baseline.
    """
    found: dict[Setting, list[ReconstructionRun]] = defaultdict(list)
    for run in runs:
        if not run.collapsed:
            found[setting_of(run)].append(run)
    usable = {
        setting: own
        for setting, own in found.items()
        if any(arms[run].method == baseline for run in own)
    }
    if not usable:
        if any(arm.method == baseline for arm in arms.values()):
            raise UserError(f"baseline={baseline}: all runs of this method collapsed")
        there = ", ".join(sorted({arm.method for arm in arms.values()}))
        raise UserError(
            f"baseline={baseline}: no finished run has this method, the methods are {there}"
        )

    def size(setting: Setting) -> tuple[int, int, list[tuple[str, str]]]:
        own = usable[setting]
        return len({arms[run] for run in own}), len(own), sorted(setting)

    return max(usable, key=size)


def left_out(runs: Sequence[ReconstructionRun], main: Setting) -> list[str]:
    """A line for each setting that is in no table, with what makes it another."""
    others = Counter(setting_of(run) for run in runs if not of_family(run, main))
    return [
        f"{count} run{'s' * (count > 1)} with {difference(setting, main)} "
        f"{'are' if count > 1 else 'is'} not compared with the others; "
        "setting=[…] chooses which runs are"
        for setting, count in others.items()
    ]
