"""The evaluation rows of a finished run, as the tokens that it was evaluated on."""

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import loradrift.tasks  # noqa: F401  registers task=…
from loradrift.config import TASKS, DataConfig, ModelConfig, UserError
from loradrift.data import Rows, rows_fingerprint
from loradrift.models import load_tokenizer
from loradrift.runs import RunRecord
from loradrift.tasks.spec import spec_of
from loradrift.training.prepared_data import how_tokenized

Settings = TypeVar("Settings")


def evaluation_table(run: RunRecord, base: Path, cache: Path) -> Rows:
    """The rows that a run was evaluated on, by the project's own tokenisation.

    Args:
        run: The run's record.
        base: Folder of its base model, whose tokenizer it used.
        cache: Folder of corpora and tokens.

    Raises:
        UserError: If its data are not here, or are others than the run's.
    """
    name = str(run.coordinates["task"])
    if name not in TASKS:
        raise UserError(f"task={name} is not known here: its rows cannot be read")
    task = _settings(TASKS[name].config, run.config.get("task", {}))
    data = _settings(DataConfig, run.config.get("data", {}))
    spec = spec_of(task)
    splits = spec.load(task, data, cache)
    tokenizer = load_tokenizer(ModelConfig(name="local", path=str(base)))
    encoding = spec.encode(task, tokenizer, cache)
    found = {
        "evaluation_rows": rows_fingerprint(splits.evaluation),
        "tokenization": how_tokenized(encoding.fingerprint, tokenizer, splits),
    }
    for key, digest in found.items():
        if run.fingerprints.get(key) != digest:
            raise UserError(
                f"{key} of task={name} are not those of the run: its record has digest "
                f"{str(run.fingerprints.get(key))[:12]}, and what is here has {digest[:12]}"
            )
    return encoding.encode(splits.evaluation)


def _settings(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """A part of a recorded configuration, without keys that are no longer known."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in values.items() if key in known})
