"""What a finished cell no longer needs."""

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from loradrift.cli.resolved_config import resolve_config


class DropFinished(Callback):
    """Hydra's hook: delete ``last.ckpt``, from which a finished run never goes on.

    It is three times as large as the weights that train. ``best.ckpt`` stays, and ``model/``, the
    same weights in the format of transformers and PEFT.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Runs in the job's own process, so that the disk holds one such file for each of them."""
        if job_return.status is JobStatus.COMPLETED:
            assert job_return.cfg is not None
            drop_last(resolve_config(job_return.cfg, list(config.hydra.overrides.task)).cell)


def drop_last(folder: Path) -> None:
    """Delete the checkpoint that an interrupted run would go on from."""
    (folder / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
