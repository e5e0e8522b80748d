"""Which adapters a cell serves: those of finished runs, of folders that were typed, or drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path

from loradrift.config import TASKS, UserError
from loradrift.config.keys import changes, defaults
from loradrift.progress import tell
from loradrift.runs import RunRecord, Status, read_record
from loradrift.serving.config import ServingBenchmarkConfig

DRAWS = "`python benchmark.py serving.source=drawn` measures adapters with random factors"


@dataclass(frozen=True)
class Source:
    """A run or an adapter's folder, and the name by which engines know its adapter."""

    name: str
    folder: Path
    run: RunRecord | None


def choose_sources(config: ServingBenchmarkConfig) -> list[Source]:
    """The adapters that are there and wanted: the first one of each task, then further seeds.

    Raises:
        UserError: If there is none, an adapter is not certified, or the base models differ.
    """
    serving = config.serving
    if serving.source == "drawn":
        return []
    if serving.folders:
        sources = _named([_found(Path(each)) for each in serving.folders])
    else:
        sources = _named(_ordered(_matching(config)))
    _check_bases([each.run for each in sources if each.run is not None])
    _check_named([each for each in sources if each.run is None])
    return sources[: max(serving.adapters)]


def typed_runs(config: ServingBenchmarkConfig) -> bool:
    """Whether a run's adapter is served, by what was typed alone."""
    serving = config.serving
    found = (Path(each) for each in serving.folders)
    here = (_found(each)[1] for each in found if each.is_dir())
    return serving.source == "runs" and (not serving.folders or any(here))


def _found(folder: Path) -> tuple[Path, RunRecord | None]:
    """A run and its record, or an adapter's folder."""
    if not folder.is_dir():
        raise UserError(
            f"serving.folders names {folder}, which is no folder: it has vanished, or the path is "
            "mistyped"
        )
    if folder.name == "model" and (run := read_record(folder.parent)) is not None:
        return folder.parent, run
    return folder, read_record(folder)


def _matching(config: ServingBenchmarkConfig) -> list[tuple[Path, RunRecord]]:
    """Finished runs of the method that were trained on ``model``, with their adapters certified."""
    serving, runs = config.serving, Path(config.runs)
    found = list(find_runs(runs, serving.study, serving.method))
    study = f" of study {serving.study}" if serving.study else ""
    what = f"{runs} holds no finished run of {serving.method}{study}"
    if not found:
        raise UserError(f"{what}: `{training_command(config)}` trains them, and {DRAWS}")
    found = _whole(found)
    models = sorted({str(run.config["model"].get("name")) for _, run in found})
    own = [
        (folder, run)
        for folder, run in found
        if run.config["model"].get("name") == config.model.name
    ]
    if not own:
        raise UserError(
            f"model={config.model.name} is not the base model of the runs of {serving.method} "
            f"below {runs}: model={models[0]} chooses theirs{_others(models[1:])}"
        )
    changed = [_changed(run, config) for _, run in own]
    if all(changed):
        raise UserError(
            f"the runs of {serving.method} below {runs} were trained on another model="
            f"{config.model.name}: {', '.join(changed[0])}; type what they were trained with"
        )
    own = [run for run, keys in zip(own, changed, strict=True) if not keys]
    certified = [(folder, run) for folder, run in own if (run.certificate or {}).get("passed")]
    if not certified:
        raise UserError(
            f"no run of {serving.method} below {runs} has a certificate that its adapter was "
            "applied, and only such are measured: train again, or name adapters by serving.folders"
        )
    return certified


def _whole(found: Sequence[tuple[Path, RunRecord]]) -> list[tuple[Path, RunRecord]]:
    """The runs whose adapters are still there; of others a line says that they are left out."""
    whole = [each for each in found if (each[0] / "model").is_dir()]
    gone = [folder for folder, _ in found if not (folder / "model").is_dir()]
    if not whole:
        raise UserError(
            f"the adapter of {gone[0]} has vanished: its folder model/ is not there; delete what "
            "is left of the run and train it again"
        )
    for folder in gone:
        tell(f"{folder} is left out: its adapter has vanished (the folder model/)")
    return whole


def training_command(config: ServingBenchmarkConfig) -> str:
    """What trains runs of the method on the model that is asked for."""
    words = ["python train.py task=sst2,mrpc,rte,squad_v2"]
    method, *changed = config.serving.method.split(",")  # a variant's folder names its overrides
    words += [f"method={method}", *changed]
    defaults = {"scale": "tiny", "model": "tiny"}
    chosen = {"scale": config.scale.name, "model": config.model.name}
    words += [f"{key}={name}" for key, name in chosen.items() if name != defaults[key]]
    words += [f"model.path={config.model.path}"] if config.model.name == "local" else []
    return " ".join([*words, "-m"])


def _changed(run: RunRecord, config: ServingBenchmarkConfig) -> list[str]:
    """Keys of the model that are not the run's, but for where it is: its digest tells more."""
    here = ("path", "copy", "attention")
    pair = (run.config["model"], asdict(config.model))
    before, now = ({key: tree[key] for key in tree if key not in here} for tree in pair)
    return changes({"model": before}, {"model": now}, {"model": defaults(config.model)})


def _others(models: Sequence[str]) -> str:
    return f" (there are runs of {', '.join(models)} too)" if models else ""


def find_runs(runs: Path, study: str | None, method: str) -> Iterator[tuple[Path, RunRecord]]:
    """Finished runs whose folder says ``method``, without checks, trials and rounding copies."""
    for place in sorted(path for path in runs.glob("*") if path.is_dir()):
        if study is not None and place.name != study:
            continue
        for folder in sorted(place.glob("*/*/seed=*")):
            if folder.parent.name != method:
                continue
            run = read_record(folder)
            if run is None or run.kind != "training" or run.status is not Status.SUCCESS:
                continue
            if run.phase == "production" and run.rounding == 0:
                yield folder, run


def _ordered(found: Sequence[tuple[Path, RunRecord]]) -> list[tuple[Path, RunRecord]]:
    """The lowest seed of each task, tasks as they are registered; then the next seeds."""
    names = list(TASKS)
    by_task: dict[str, list[tuple[Path, RunRecord]]] = {}
    for folder, run in found:
        by_task.setdefault(str(run.coordinates["task"]), []).append((folder, run))
    tasks = sorted(
        by_task, key=lambda task: (names.index(task) if task in names else len(names), task)
    )
    for own in by_task.values():
        own.sort(key=lambda each: int(each[1].coordinates["seed"]))
    longest = max(map(len, by_task.values()), default=0)
    return [by_task[task][i] for i in range(longest) for task in tasks if i < len(by_task[task])]


def _named(found: Sequence[tuple[Path, RunRecord | None]]) -> list[Source]:
    """Names that are different: ``sst2``, then ``sst2-seed=2``, then with a number."""
    sources: list[Source] = []
    taken: set[str] = set()
    for folder, run in found:
        name = folder.name if run is None else str(run.coordinates["task"])
        if run is not None and name in taken:
            name = f"{name}-seed={run.coordinates['seed']}"
        numbered = (f"{name}-{number}" for number in count(2))
        name = next(each for each in chain([name], numbered) if each not in taken)
        taken.add(name)
        sources.append(Source(name, folder, run))
    return sources


def named_base(source: Source) -> str | None:
    """What an adapter's configuration calls its base model."""
    from loradrift.adapters.adapter_config import CONFIG
    from loradrift.weights.stored import read_json

    folder = source.folder if source.run is None else source.folder / "model"
    path = folder / CONFIG
    return read_json(path).get("base_model_name_or_path") if path.is_file() else None


def _check_named(folders: Sequence[Source]) -> None:
    """Refuse adapters that name different base models, as far as names tell."""
    models: dict[str, tuple[Source, str]] = {}
    for source in folders:
        if named := named_base(source):
            models.setdefault(Path(named).name.casefold(), (source, named))
    if len(models) > 1:
        named = " and ".join(f"{name} ({source.folder})" for source, name in models.values())
        raise UserError(
            f"serving.folders must be adapters of one base model, and they name {named}"
        )


def _check_bases(runs: Sequence[RunRecord]) -> None:
    """Refuse runs that were trained on different base models: one engine has one."""
    models: dict[str, RunRecord] = {}
    for run in runs:
        models.setdefault(str(run.started_from), run)
    if len(models) > 1:
        named = " and ".join(
            f"{run.config['model'].get('name')} ({run.coordinates['study']}/"
            f"{run.coordinates['task']}, digest {digest[:12]})"
            for digest, run in models.items()
        )
        raise UserError(
            f"the adapters have different base models, {named}: serving.study=<name> or "
            "serving.folders=[…] chooses those of one"
        )
