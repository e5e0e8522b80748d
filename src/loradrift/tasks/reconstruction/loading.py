"""The trained encoder and adapter of another run (``task.encoder_run``)."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from loradrift.config import UserError, check
from loradrift.models.soft_prompt import SoftPromptHead
from loradrift.runs import RunRecord, read_record
from loradrift.tasks.prepared import PreparedData

HEAD = Path("model", "head.safetensors")


def load_head(head: SoftPromptHead, folder: Path, data: PreparedData) -> None:
    """Take a run's trained head, in place.

    Raises:
        UserError: If the folder holds no such run, or its head is of another base model, another
            size, or changed by LoRA.
    """
    from safetensors.torch import load_file

    here = f"task.encoder_run={folder}"
    check(not folder.is_file(), "task.encoder_run", "the folder of a run, not a file", folder)
    record = read_record(folder)
    if record is None:
        raise UserError(f"{here} is no run: it has no run.json")
    if record.coordinates.get("task") != "reconstruction":
        raise UserError(f"{here} is a run of task={record.coordinates.get('task')}")
    if not (folder / HEAD).is_file():
        raise UserError(f"{here} holds no {HEAD}: its status is {record.status}")
    _check_base(here, record, data)
    _check_sizes(here, record.config["task"], head)
    try:
        state = load_file(folder / HEAD)
        head.load_state_dict(state)
    except Exception as error:  # safetensors and torch have errors of their own
        raise UserError(f"{here}: {HEAD} is damaged or of another head: {_first(error)}") from None


def _check_base(here: str, record: RunRecord, data: PreparedData) -> None:
    theirs, ours = record.fingerprints.get("base_model", ""), data.fingerprints["base_model"]
    if theirs != ours:
        name = record.config["model"]["name"]
        raise UserError(
            f"{here} is of another base model: {name} with digest {theirs[:12]}, and this run has "
            f"{data.model.name} with {ours[:12]}"
        )


def _check_sizes(here: str, theirs: dict[str, Any], head: SoftPromptHead) -> None:
    adapted = theirs.get("adapt", "decoder")
    if adapted != "decoder":
        raise UserError(f"{here} has LoRA on its encoder (task.adapt={adapted}): not supported")
    for key, ours in asdict(head.sizes).items():
        if theirs[key] != ours:
            raise UserError(f"{here} has task.{key}={theirs[key]}, and this run has {ours}")


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
