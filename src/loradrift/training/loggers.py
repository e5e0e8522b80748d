"""Where metrics go: always ``metrics.csv``, and W&B or TensorBoard if asked for."""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from loradrift.config import Config, LoggerConfig, UserError, identity
from loradrift.config.studies import phase_folder
from loradrift.config.variants import cut_short
from loradrift.files import write_atomic
from loradrift.runs import Cell

LONGEST_VARIANT = 90
"""Bytes of a run's variant in its name on W&B, which takes 128 characters."""


class MetricsFile(Logger):
    """Collects rows and writes them all at once, atomically.

    Lightning's own CSV logger deletes an earlier file when a run resumes.

    Args:
        path: The file.
        last_step: Rows after this step are dropped: the resumed run computes them again.
    """

    def __init__(self, path: Path, last_step: int) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, str]] = {}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    step = int(row.pop("step"))
                    if step <= last_step:
                        self.rows[step] = {name: value for name, value in row.items() if value}

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "metrics"

    @property
    def version(self) -> int:
        """Lightning asks for one."""
        return 0

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing to do: ``config.yaml`` and ``run.json`` have them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of ``step``."""
        assert step is not None
        values = {name: repr(float(value)) for name, value in metrics.items() if name != "epoch"}
        self.rows.setdefault(int(step), {}).update(values)

    @rank_zero_only
    def save(self) -> None:
        """Write the file."""
        names = sorted({name for row in self.rows.values() for name in row})
        with write_atomic(self.path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *names])
            writer.writeheader()
            writer.writerows({"step": step, **row} for step, row in sorted(self.rows.items()))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file at the end, however the run ends."""
        self.save()


def check_logger(logger: LoggerConfig) -> None:
    """Refuse a logger that could not log, before anything is prepared for it.

    Raises:
        UserError: If its package is not installed, or W&B has no key.
    """
    packages = {"wandb": ["wandb"], "tensorboard": ["tensorboard", "tensorboardX"]}
    wanted = packages.get(logger.name, [])
    if wanted and not any(map(find_spec, wanted)):
        raise UserError(f"logger={logger.name} needs the package {wanted[0]}, which is not here")
    if logger.name != "wandb":
        return
    import wandb

    settings = wandb.setup().settings
    if settings.mode in ("offline", "disabled"):
        return
    from wandb.sdk.lib import wbauth

    known = wbauth.authenticate_session(
        host=settings.base_url, source="loradrift", prompt=False, update_session=False
    )
    if known is None:
        raise UserError(
            "logger=wandb needs a key: `wandb login` or WANDB_API_KEY gives one, and "
            "WANDB_MODE=offline writes files without one"
        )


@contextmanager
def open_loggers(config: Config, cell: Cell, last_step: int) -> Iterator[list[Logger]]:
    """The run's loggers, closed however the run ends; metrics after ``last_step`` are dropped."""
    loggers: list[Logger] = [MetricsFile(cell.folder / "metrics.csv", last_step)]
    match config.logger.name:
        case "csv":
            yield loggers
        case "tensorboard":
            from pytorch_lightning.loggers import TensorBoardLogger

            yield [*loggers, TensorBoardLogger(cell.folder, name="tensorboard", version="")]
        case "wandb":
            with _wandb(config, cell) as logger:
                yield [*loggers, logger]
        case name:
            raise UserError(f"logger.name must be csv, wandb or tensorboard, got {name}")


@contextmanager
def _wandb(config: Config, cell: Cell) -> Iterator[Logger]:
    """A W&B run of its own for each cell; its id survives a resume.

    Offline with ``WANDB_MODE=offline``. The key is read by W&B from the environment.
    """
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    key = f"{cell.folder.resolve()} {cell.record.started}"
    place = cell.record.coordinates
    study, phase = study_and_phase(config)
    own = cut_short(place["variant"], LONGEST_VARIANT)
    logger = WandbLogger(
        name=f"{place['task']} {place['method']} {own} seed={place['seed']}",
        id=hashlib.sha256(key.encode()).hexdigest()[:16],
        resume="allow",
        save_dir=cell.folder,
        project=config.logger.project,
        entity=config.logger.entity,
        group=study,
        job_type=phase,
        tags=[config.task.name, config.method.name, config.scale.name, *config.logger.tags],
        config=identity(config) | {"trial": config.search.trial},
    )
    exit_code = 1
    try:
        yield logger
        if getattr(rank_zero_only, "rank", 0) == 0:
            _log_tables(logger.experiment, cell.folder)
        exit_code = 0
    finally:
        if getattr(rank_zero_only, "rank", 0) == 0:
            wandb.finish(exit_code=exit_code)


def study_and_phase(config: Config) -> tuple[str, str]:
    """What a dashboard groups by: the study without its phase's suffix, and the run's phase."""
    return config.study.name.removesuffix(phase_folder("", config.phase)), config.phase


def _log_tables(run: Any, folder: Path) -> None:
    """The run's tables as an artifact of it, and its drift curves, where drift was measured."""
    import wandb

    artifact = wandb.Artifact(f"run-{run.id}-tables", type="tables")
    for name in ("metrics.csv", "config.yaml", "predictions.jsonl", "diagnostics.jsonl"):
        if (folder / name).exists():
            artifact.add_file(str(folder / name))
    run.log_artifact(artifact)
    steps, layers = _drift_curves(folder / "metrics.csv")
    if steps:
        title, curves = "Drift (1 - CKA) by layer", list(layers.values())
        chart = wandb.plot.line_series(steps, curves, list(layers), title, "optimizer step")
        run.log({"drift_by_layer": chart})


def _drift_curves(path: Path) -> tuple[list[int], dict[str, list[float]]]:
    """Steps at which drift was measured, and the drift of each layer there."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("drift/mean")]
    names = [name for name in (rows[0] if rows else {}) if name.startswith("drift/layer_")]
    curves = {name.partition("/")[2]: [float(row[name]) for row in rows] for name in names}
    return [int(row["step"]) for row in rows], curves
