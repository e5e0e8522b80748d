"""Which runs may be compared: both methods, the same seed, and the same rows, tokens and metric."""

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.activations import StoreError
from loradrift.analysis.drift.run_view import Run, certified, overrides, why_uncertified
from loradrift.config import UserError
from loradrift.runs import Status, read_record

METHODS = ("full_finetune", "lora")

CONTRACT = ("evaluation_rows", "train_rows", "tokenization", "metric", "probe", "base_model")
"""Fingerprints that two compared runs must share."""

BETWEEN_SEEDS = tuple(name for name in CONTRACT if name != "train_rows")
"""Fingerprints that the seeds of a task must share: each may train on its own sample."""

PREPARATIONS = (".sanity", ".search")
"""How the studies' names end that hold no results: checks, and the trials of a search."""


class Pair(NamedTuple):
    """Both methods with one seed on one task."""

    full_finetune: Run
    lora: Run

    @property
    def task(self) -> str:
        """The task of both."""
        return self.lora.task

    @property
    def seed(self) -> int:
        """The seed of both."""
        return self.lora.seed


class Pairing(NamedTuple):
    """What can be compared, and one line for everything that cannot."""

    pairs: list[Pair]
    problems: list[str]


def choose_study(runs: Path, study: str | None) -> str:
    """The study that is meant.

    Args:
        runs: Folder of all runs.
        study: Its name; None is the only one there is.

    Raises:
        UserError: If there is no such study.
    """
    names = {path.parents[3].name for path in runs.glob("*/*/*/seed=*/run.json")}
    studies = sorted(name for name in names if not name.endswith(PREPARATIONS))
    if not studies:
        raise UserError(
            f"{runs} holds no run: `python train.py study=drift -m` makes some, analysis.runs=… "
            "names another folder"
        )
    if study is None and len(studies) > 1:
        raise UserError(f"analysis.study must be one of {', '.join(studies)}, got null")
    study = study or studies[0]
    if study not in studies:
        raise UserError(f"analysis.study must be one of {', '.join(studies)}, got {study}")
    return study


def find_pairs(runs: Path, study: str | None) -> Pairing:
    """Read the runs of a study and pair them by task and seed.

    Args:
        runs: Folder of all runs.
        study: Name of the study; None is the only one there is.

    Raises:
        UserError: If there is no run of the study, or a method has two settings on one task.
    """
    study = choose_study(runs, study)
    folders = sorted(path.parent for path in (runs / study).glob("*/*/seed=*/run.json"))
    problems: list[str] = []
    cells: dict[tuple[str, int], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        run = _usable(folder, problems)
        if run is not None and run.method in METHODS:
            cells[run.task, run.seed][run.method].append(run)
    pairs = [
        pair
        for place, by_method in sorted(cells.items())
        if (pair := _paired(*place, by_method, problems)) is not None
    ]
    return Pairing(_alike(pairs, problems), problems)


def _alike(pairs: list[Pair], problems: list[str]) -> list[Pair]:
    """The pairs that are seeds of one experiment: on each task, the one with the most seeds."""
    kept = []
    for task in dict.fromkeys(pair.task for pair in pairs):
        own = [pair for pair in pairs if pair.task == task]
        experiments = [_experiment(pair) for pair in own]
        chosen = max(experiments, key=experiments.count)
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
    """What is the same in every seed of one experiment."""
    prints, manifest = pair.lora.record.fingerprints, pair.lora.store.manifest
    return {
        "settings": [run.setting for run in pair],
        **{name: prints.get(name) for name in BETWEEN_SEEDS},
        "layers": manifest["layers"],
        "dump dtype": manifest["dtype"],
    }


def _usable(folder: Path, problems: list[str]) -> Run | None:
    """The run in ``folder``, if it is finished and its activations can be read."""
    try:
        record = read_record(folder)
        assert record is not None
        if record.status is Status.RUNNING:
            problems.append(f"{folder}: still going; it is analysed when it has finished")
        elif record.status is not Status.SUCCESS:
            problems.append(
                f"{folder}: {record.status} ({record.error}); its own command repeats it"
            )
        elif record.coordinates["method"] not in METHODS:
            return None  # baselines and other methods are no part of this comparison
        elif record.coordinates["method"] == "lora" and not certified(record):
            problems.append(f"{folder}: {why_uncertified(record)}")
        else:
            run = Run(folder, record)
            if 0 in run.store.steps and len(run.store.steps) > 1:
                return run
            problems.append(f"{folder}: no activations of step 0 and a later one; drift needs both")
    except (UserError, StoreError) as error:
        problems.append(str(error))
    return None


def _paired(
    task: str, seed: int, by_method: dict[str, list[Run]], problems: list[str]
) -> Pair | None:
    """The two runs of one task and seed, if they are there and may be compared."""
    place = f"{task} seed={seed}"
    for method in METHODS:
        runs = by_method[method]
        if not runs:
            [other] = [by_method[name][:1] for name in METHODS if name != method]
            command = f"python train.py task={task} method={method} seed={seed}"
            problems.append(
                f"{place}: there is no finished {method} run to compare with: "
                f"`{command} {overrides(other[0])}` makes it"
            )
            return None
        if len(runs) > 1:
            variants = " and ".join(run.record.coordinates["variant"] or "(none)" for run in runs)
            raise UserError(
                f"{place}: {method} was run as {variants}; give them studies of their own "
                "(study.name=…), so that each report compares two methods"
            )
    pair = Pair(*(by_method[method][0] for method in METHODS))
    unequal = differences(pair)
    if unequal:
        problems.append(
            f"{place}: {', '.join(unequal)} differ between the methods: not compared; train both "
            "on the same data, model and probe"
        )
        return None
    return pair


def differences(pair: Pair) -> list[str]:
    """What the two runs do not share, of what a fair comparison needs to be equal."""
    prints = [run.record.fingerprints for run in pair]
    unequal = [name for name in CONTRACT if prints[0].get(name) != prints[1].get(name)]
    manifests = [run.store.manifest for run in pair]
    same = (
        ("dump pooling", [manifest["pooling"] for manifest in manifests]),
        ("dump dtype", [manifest["dtype"] for manifest in manifests]),
        ("layers", [manifest["layers"] for manifest in manifests]),
    )
    return unequal + [name for name, (one, other) in same if one != other]
