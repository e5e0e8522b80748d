"""What an interrupted run goes on from, and whether it may."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from loradrift.config import UserError
from loradrift.files import write_atomic
from loradrift.runs import Cell
from loradrift.tasks.prepared import PreparedData


class WholeCheckpoints(TorchCheckpointIO):
    """How Lightning writes checkpoints: straight to files that are whole or absent.

    Lightning's own copies it through memory and the system's temporary folder.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Replace the file at ``path``; an OSError names it, and its earlier content stays."""
        with write_atomic(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch hides what the file said behind a complaint about its own archive
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


def check_continued(cell: Cell, data: PreparedData) -> None:
    """Refuse to go on from a checkpoint of other rows, tokens or base weights."""
    before, now = cell.record.fingerprints, data.fingerprints
    if data.start:
        start = {"start (the weights that it began with)": data.weights_fingerprint}
        before = before | dict.fromkeys(start, str(cell.record.start.get("fingerprint")))
        now = now | start
    # Only what training depends on: the record may hold more, of what was measured at its end.
    changed = sorted(key for key in now if before.get(key) != now[key])
    if changed and cell.last_checkpoint.exists():
        raise UserError(
            f"{cell.folder} was interrupted, and since then {', '.join(changed)} changed; "
            "force=true archives it and starts anew"
        )


def steps_done(checkpoint: Path) -> int:
    """Optimizer steps in a checkpoint; 0 without one."""
    return int(load_checkpoint(checkpoint)["global_step"]) if checkpoint.exists() else 0


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, lazily and without unpickling anything but tensors and plain values.

    Raises:
        UserError: If the file is missing or damaged; names it.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
        return state
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{path} is missing or damaged ({reason}); force=true archives the run and starts anew"
        ) from error
