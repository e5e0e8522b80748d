"""Which runs may be compared: both arms, the same seed, and the same rows, tokens and metric."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from loradrift.activations import StoreError
from loradrift.analysis.drift.arms import Arms, Run, arm_names, variant_of, why_uncertified
from loradrift.analysis.drift.commands import command
from loradrift.analysis.drift.records import choose_study, find_records, without_started
from loradrift.config import UserError
from loradrift.runs import RunRecord, Status

CONTRACT = (
    "evaluation_rows", "train_rows", "tokenization", "metric", "probe", "base_model", "chain",
)  # fmt: skip
"""Fingerprints that two compared runs must share; of runs in a chain of tasks ``base_model`` is the
first model, and ``chain`` the place in it, which others have not."""


class Pair(NamedTuple):
    """Both arms' runs with one seed on one task."""

    control: Run
    treatment: Run

    @property
    def task(self) -> str:
        """The task of both."""
        return self.treatment.task

    @property
    def seed(self) -> int:
        """The seed of both."""
        return self.treatment.seed


class Pairing(NamedTuple):
    """What can be compared, and one line for everything that cannot."""

    arms: Arms
    pairs: list[Pair]
    problems: list[str]
    others: list[str]
    """Arms that have finished runs and are not compared."""

    nudged: Mapping[Path, RunRecord] = MappingProxyType({})
    """Runs with ``trainer.rounding``, by folder: they are no part of an arm."""

    copies: Mapping[Run, Sequence[Run]] = MappingProxyType({})
    """Those of them that repeat a run of the pairs
    (:func:`~loradrift.analysis.drift.rounding.with_copies`)."""


def find_pairs(runs: Path, study: str | None, arms: Arms | None = None) -> Pairing:
    """Read the runs of a study and pair them by task and seed.

    ``study`` is chosen as in :func:`choose_study`; the default arms are LoRA against full
    fine-tuning.

    Raises:
        UserError: If there is no run of the study or of an arm, or if an arm's name fits several
            runs of one task and seed.
    """
    arms, study = arms or Arms.of(), choose_study(runs, study)
    problems: list[str] = []
    everything = without_started(find_records(runs / study, problems), problems)
    nudged = {folder: record for folder, record in everything.items() if record.rounding}
    records = {folder: record for folder, record in everything.items() if not record.rounding}
    cells: dict[tuple[str, int], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    names = dict(zip(records, arm_names([*records.values()]), strict=True))
    others: set[str] = set()
    found = [Run(folder, record, arms.of_run(record)) for folder, record in records.items()]
    for run in sorted(found, key=lambda run: (run.task, run.seed, run.folder.parent.name)):
        if run.arm is not None:
            if is_usable(run, problems):
                cells[run.task, run.seed][run.arm.role].append(run)
        elif run.record.status is Status.SUCCESS:
            others |= set() if _is_bare(run) else {names[run.folder]}
    why = f"nothing to compare ({problems[0]})" if problems else "nothing to compare"
    typable = sorted({names[run.folder] for run in found if not _is_bare(run)})
    _check_arms(arms, found, f"{runs / study}", typable, why)
    pairs = []
    for by_role in cells.values():
        nearest = [_nearest(by_role[arm.role]) for arm in arms]
        others |= {names[run.folder] for own in by_role.values() for run in own}
        if (pair := _paired(arms, nearest, problems)) is not None:
            pairs.append(pair)
    used = {names[run.folder] for pair in pairs for run in pair}
    return Pairing(arms, _alike(pairs, problems), problems, sorted(others - used), nudged)


def _check_arms(arms: Arms, found: list[Run], folder: str, typable: list[str], why: str) -> None:
    """Refuse arms that no run in ``folder`` can stand for; ``typable`` are those that can."""
    for arm in arms:
        key = f"analysis.{arm.role}"
        if arm in [run.arm for run in found if not _is_bare(run)]:
            continue
        if arm in [run.arm for run in found]:
            raise UserError(
                f"{key}={arm.name}: its runs in {folder} have no activations, as a baseline or "
                f"with callbacks.activation_dump.enabled=false: {why}"
            )
        if any(arm.fits(run.record) for run in found):
            both = " and ".join(f"analysis.{each.role}={each.name}" for each in arms)
            raise UserError(f"{both} name the same runs in {folder}: {why}")
        there = ", ".join(typable) or "none"
        rule = f"must name an arm that {folder} has runs of ({there})"
        raise UserError(f"{key} {rule}, got {arm.name}: {why}")


def _is_bare(run: Run) -> bool:
    """Whether it is finished without activations, as a baseline is."""
    dumped = (run.folder / "activations" / "manifest.json").is_file()
    return run.record.status is Status.SUCCESS and not dumped


def _alike(pairs: list[Pair], problems: list[str]) -> list[Pair]:
    """The pairs that are seeds of one experiment: on each task, the one with the most seeds."""
    kept = []
    for task in dict.fromkeys(pair.task for pair in pairs):
        own = [pair for pair in pairs if pair.task == task]
        experiments = [_experiment(pair) for pair in own]
        # A variant that an arm's name does not spell is another arm, however many seeds it has.
        exact = [sum(run.distance < 2 for run in pair) for pair in own]
        ranks = [(near, experiments.count(e)) for near, e in zip(exact, experiments, strict=True)]
        chosen = experiments[ranks.index(max(ranks))]
        for pair, experiment in zip(own, experiments, strict=True):
            unequal = [name for name, value in chosen.items() if experiment[name] != value]
            if not unequal:
                kept.append(pair)
                continue
            problems.append(
                f"{task} seed={pair.seed}: {', '.join(unequal)} differ from the other seeds': "
                "not averaged with them; give it a study of its own (study.name=…)"
            )
    return kept


def _experiment(pair: Pair) -> dict[str, Any]:
    """What is the same in every seed of one experiment; each may train on its own sample."""
    experiment = {"settings": [variant_of(run.record) for run in pair], **contract(pair.treatment)}
    del experiment["train_rows"], experiment["dump pooling"]
    return experiment


def why_unusable(run: Run) -> str:
    """Why a run's scores cannot be used; empty if they can, whether it has dumps or not."""
    record = run.record
    if record.status is Status.RUNNING:
        return "still going; it is analysed when it has finished"
    if record.status is Status.COLLAPSED:
        return f"{record.status} ({record.error}); ended there, it has no evaluation"
    if record.status is not Status.SUCCESS:
        return f"{record.status} ({record.error}); its own command repeats it"
    return why_uncertified(run)


def is_usable(run: Run, problems: list[str]) -> bool:
    """Whether the run is finished and its activations can be read; if not, a problem says why."""
    if not (problem := why_unusable(run)):
        try:
            if 0 in run.store.steps and len(run.store.steps) > 1:
                return True
            problem = "no activations of step 0 and a later one; drift needs both"
        except StoreError as error:
            problems.append(str(error))
            return False
    problems.append(f"{run.folder}: {problem}")
    return False


def _nearest(runs: list[Run]) -> Run | None:
    """The run of one cell that is nearest to its arm's name; two that are as near are refused."""
    near = [run for run in runs if run.distance == min(each.distance for each in runs)]
    if len(near) > 1:
        run = near[0]
        assert run.arm is not None
        names = " and ".join(each.folder.parent.name for each in near)
        raise UserError(
            f"{run.task} seed={run.seed}: analysis.{run.arm.role}={run.method} fits {names}; "
            "name the one that is meant, or give them studies of their own (study.name=…)"
        )
    return near[0] if near else None


def _paired(arms: Arms, found: list[Run | None], problems: list[str]) -> Pair | None:
    """The two runs of one task and seed, if they are there and may be compared."""
    there = [run for run in found if run is not None]
    where = f"{there[0].task} seed={there[0].seed}"
    if len(there) < len(arms):
        arm, run = arms[found.index(None)], there[0]
        needed = f"there is no finished {arm.name} run to compare with: "
        needed += f"`{command(arm, run)}` makes it"
        same = f"{run.folder} is a run of both arms, and there is no other"
        problems.append(f"{where}: {same if arm.fits(run.record) else needed}")
        return None
    one, other = map(contract, there)
    if unequal := [name for name in one if one[name] != other[name]]:
        problems.append(
            f"{where}: {', '.join(unequal)} differ between the methods: not compared; train both "
            "on the same data, model and probe"
        )
        return None
    return Pair(*there)


def contract(run: Run) -> dict[str, Any]:
    """What a fair comparison needs to be equal in both runs."""
    manifest = run.store.manifest
    return {
        **{name: run.record.fingerprints.get(name) for name in CONTRACT},
        "dump pooling": manifest["pooling"],
        "dump dtype": manifest["dtype"],
        "layers": manifest["layers"],
    }
