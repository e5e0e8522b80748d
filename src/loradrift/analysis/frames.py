"""Results as data frames, for notebooks: the runs, their drift, their predictions, their adapters.

The tables begin with a run's coordinates: ``study``, ``task``, ``method``, ``variant`` (text; what
else was overridden, "" for nothing) and ``seed`` (int), in whose order their rows are. ``runs`` is
the folder of all runs, or any folder below it: of a study, a task, a method, or one run. What is
damaged is left out, and a warning names it.
"""

import json
import warnings
from os import PathLike
from pathlib import Path
from typing import Any, cast

import pandas as pd

from loradrift.activations import StoreError
from loradrift.adapters import read_adapter
from loradrift.adapters.adapter_config import CONFIG
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.layers import run_drift
from loradrift.analysis.drift.records import training_records
from loradrift.config import UserError, check
from loradrift.config.errors import excerpt, one_of
from loradrift.runs import RunRecord
from loradrift.similarity import MEASURES
from loradrift.weights import LowRank

Folder = str | PathLike[str]

RECORDS = [f"{'*/' * above}seed=*/run.json" for above in range(4)]
"""Where the runs' records lie below the folder of a method, a task, a study, or all runs."""


def runs_df(runs: Folder = "runs") -> pd.DataFrame:
    """One row for each training run, finished or not, of every phase.

    Returns:
        The coordinates, then ``status`` (text: ``success``, ``running``, ``failed``, …), ``phase``
        (text: ``production``, ``search``, …), ``steps`` (int, optimizer steps done),
        ``trainable_parameters`` (int), ``wall_time_s`` (float, seconds),
        ``certificate_passed`` (bool; missing without an adapter), ``folder`` (text), and each
        metric as a float column of its own name (``evaluation/accuracy``; NaN where a run has
        none, or it was not finite).

    Raises:
        UserError: If ``runs`` is no folder, or holds no run that can be read.

    Example:
        >>> runs = runs_df("runs")
        >>> runs.groupby("method")["evaluation/accuracy"].mean().to_dict()
        {'full_finetune': 0.8, 'lora': 0.8}
    """
    records = _records(runs)
    table = pd.DataFrame([_row(folder, record) for folder, record in records.items()])
    types: dict[str, Any] = {name: float for each in records.values() for name in each.metrics}
    types |= {"trainable_parameters": "Int64", "wall_time_s": float}
    return table.astype(types | {"certificate_passed": "boolean"})


def drift_df(runs: Folder = "runs", measure: str = "cka") -> pd.DataFrame:
    """How far each layer of each run has moved from step 0, at every dump of its activations.

    Runs without dumps are left out.

    Args:
        runs: A folder, as for :func:`runs_df`.
        measure: A name in :data:`loradrift.similarity.MEASURES`.

    Returns:
        The coordinates, then ``step`` (int, optimizer steps), ``layer`` (int, 0 is the first
        block), ``value`` (float, what the measure says of step 0 and this step) and ``drift``
        (float, the same as a distance: ``1 - value``, or the value of a measure that is a distance
        itself). Both have the unit of the measure.

    Raises:
        UserError: If no measure has this name, ``runs`` is no folder, or no run in it has dumps
            that can be read.

    Example:
        >>> drift = drift_df("runs/drift/sst2/lora", measure="procrustes")
        >>> drift.groupby("step")["drift"].mean().round(1).to_dict()
        {0: 0.0, 9: 0.4}
    """
    check(measure in MEASURES, "measure", one_of(MEASURES), measure)
    tables = []
    for folder, record in _records(runs).items():
        if not (folder / "activations" / "manifest.json").exists():
            continue
        try:
            drifts = run_drift(Run(folder, record), [measure])
        except (StoreError, FileNotFoundError) as error:
            _left_out(error)
            continue
        own = drifts[drifts["measure"] == measure].drop(columns="measure")
        value = 1 - own["drift"] if MEASURES[measure].identical else own["drift"]
        own.insert(2, "value", value)  # after step and layer
        tables.append(_placed(record, own))
    if not tables:
        raise UserError(
            f"{runs} holds no dumps of activations that can be read; a run writes them to its "
            "folder activations/ unless callbacks.activation_dump.enabled=false"
        )
    return pd.concat(tables, ignore_index=True)


def predictions_df(runs: Folder = "runs") -> pd.DataFrame:
    """The rows of ``predictions.jsonl`` of each run: one for each row of the evaluation split.

    Runs without predictions are left out.

    Args:
        runs: A folder, as for :func:`runs_df`.

    Returns:
        The coordinates, then what the task writes. Classification: ``id`` (text), ``label`` and
        ``prediction`` (int), ``score`` (float, probability of the second of two labels; else a list
        with each one's). ``squad_v2``: ``id``, ``label`` (list of right answers), ``prediction``
        (text), ``score`` (float, of there being no answer). ``reconstruction``: ``id``,
        ``question``, ``gold``, ``answer``, ``f1``, ``em`` and more.

    Raises:
        UserError: If ``runs`` is no folder, or no run in it has predictions that can be read.

    Example:
        >>> rows = predictions_df("runs/drift/sst2/lora/seed=1")
        >>> rows[["id", "label", "prediction"]].to_dict("records")[0]
        {'id': 'r/0', 'label': 0, 'prediction': 1}
    """
    tables = []
    for folder, record in _records(runs).items():
        path = folder / "predictions.jsonl"
        if not path.exists():
            continue
        try:
            tables.append(_placed(record, pd.DataFrame(_lines(path, record))))
        except (OSError, TypeError, ValueError) as error:
            _left_out(f"{path} is damaged ({error})")
    if not tables:
        raise UserError(
            f"{runs} holds no predictions that can be read; a run writes predictions.jsonl when it "
            "is evaluated"
        )
    return pd.concat(tables, ignore_index=True)


def adapter(path: Folder) -> dict[str, LowRank]:
    """The weight change of each module that a LoRA adapter changes, as factors.

    Args:
        path: A run, its ``model/``, or any folder of a PEFT adapter.

    Returns:
        Module name -> :class:`~loradrift.weights.LowRank`: ``B_OR`` (O, R) and ``A_RI`` (R, I) in
        float64, and ``scale``; the change is ``scale * B A``.

    Raises:
        UserError: If ``path`` is no folder or holds no adapter, if a file is damaged, or if the
            factors are not the whole change (DoRA's need the base model's weights:
            :func:`loradrift.adapters.read_adapter` takes them).

    Example:
        >>> from loradrift.weights import norm
        >>> changes = adapter("runs/drift/sst2/lora/seed=1")
        >>> {module: norm(change) for module, change in changes.items()}
        {'layers.0.self_attn.q_proj': 10.0}
    """
    folder = Path(path)
    check(folder.is_dir(), "path", "a folder", folder)
    for each in (folder, folder / "model"):
        if (each / CONFIG).is_file():
            # a change of another kind takes a base model, and none is given
            return cast("dict[str, LowRank]", read_adapter(each))
    held = sorted(each.relative_to(folder) for each in (*folder.glob("*"), *folder.glob("model/*")))
    names = ", ".join(map(str, held)) or "nothing"
    raise UserError(
        f"{folder} holds no adapter: neither it nor its model/ has an {CONFIG}; there is "
        f"{excerpt(names)}"
    )


def _records(runs: Folder) -> dict[Path, RunRecord]:
    """The records of a folder's training runs, sorted by their coordinates."""
    root = Path(runs)
    check(root.is_dir(), "runs", "a folder", root)
    own = [root / "run.json"] if (root / "run.json").exists() else []
    paths = own or [path for pattern in RECORDS for path in root.glob(pattern)]
    problems: list[str] = []
    found = training_records(paths, problems)
    for problem in problems:
        _left_out(problem, stacklevel=4)
    if not found:
        raise UserError(
            f"{root} holds no training run that can be read; it must be a run's folder, or one "
            "above: <runs>/<study>/<task>/<method>/seed=<n>/run.json"
        )
    return dict(sorted(found.items(), key=lambda item: tuple(_place(item[1]).values())))


def _place(record: RunRecord) -> dict[str, Any]:
    names = ("study", "task", "method", "variant")
    place = {name: str(record.coordinates.get(name, "")) for name in names}
    return {**place, "seed": record.coordinates["seed"]}


def _placed(record: RunRecord, table: pd.DataFrame) -> pd.DataFrame:
    """A run's table with its coordinates in front."""
    return pd.concat([pd.DataFrame(_place(record), table.index), table], axis=1)


def _row(folder: Path, record: RunRecord) -> dict[str, Any]:
    return {
        **_place(record),
        "status": str(record.status),
        "phase": record.phase,
        "steps": record.steps,
        "trainable_parameters": record.parameters.get("trainable"),
        "wall_time_s": record.performance.get("wall_time_s"),
        "certificate_passed": (record.certificate or {}).get("passed"),
        "folder": str(folder),
        **record.metrics,
    }


def _lines(path: Path, record: RunRecord) -> list[dict[str, Any]]:
    """The rows of a file of predictions: as many as the run evaluated."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not lines:
        raise ValueError("it is empty")
    if not all(isinstance(line, dict) for line in lines):
        raise TypeError("each line must be an object")
    # a question may take several rows of tokens
    number = record.rows.get("evaluation_questions", record.rows.get("evaluation", len(lines)))
    if len(lines) != number:
        raise ValueError(f"it holds {len(lines)} rows of {number}")
    return lines


def _left_out(why: object, stacklevel: int = 3) -> None:
    """Warn, at the line that called the public function."""
    warnings.warn(f"left out: {why}", stacklevel=stacklevel)
