"""Where metrics go: always ``metrics.csv``, and W&B or TensorBoard if asked for."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from loradrift.config import Config, UserError, identity
from loradrift.runs import Cell
from loradrift.training.metrics_file import MetricsFile


@contextmanager
def open_loggers(config: Config, cell: Cell, last_step: int) -> Iterator[list[Logger]]:
    """The run's loggers, closed however the run ends.

    Args:
        config: Names the logger.
        cell: Where they write.
        last_step: Metrics after this step are dropped and computed again.

    Raises:
        UserError: If the logger's name is unknown.
    """
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
    logger = WandbLogger(
        name=f"{place['task']} {place['method']} {place['variant']} seed={place['seed']}",
        id=hashlib.sha256(key.encode()).hexdigest()[:16],
        resume="allow",
        save_dir=cell.folder,
        project=config.logger.project,
        entity=config.logger.entity,
        group=config.study.name,
        job_type="train",
        tags=[config.task.name, config.method.name, config.scale.name, *config.logger.tags],
        config=identity(config),
    )
    exit_code = 1
    try:
        yield logger
        exit_code = 0
    finally:
        if getattr(rank_zero_only, "rank", 0) == 0:
            wandb.finish(exit_code=exit_code)
