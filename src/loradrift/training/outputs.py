"""What every run leaves, whether it trains or not: its inputs and its predictions."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from loradrift.config import Config, identity
from loradrift.files import write_atomic, write_json
from loradrift.runs import Cell
from loradrift.tasks.prepared import PreparedData


def record_inputs(
    config: Config, cell: Cell, data: PreparedData, model: nn.Module | None, num_trainable: int
) -> None:
    """Record what the run starts from; the process that writes also makes files of it for a reader.

    These are the resolved configuration and the examples whose target is lost on the way to
    tokens, if there are any.
    """
    import yaml

    total = 0 if model is None else sum(p.numel() for p in model.parameters())
    cell.save(
        fingerprints=data.fingerprints,
        start=data.start,
        task=config.task.for_record,
        rows=data.num_rows,
        parameters={"trainable": num_trainable, "total": total},
    )
    if not cell.writes:
        return
    with write_atomic(cell.folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(identity(config), sort_keys=False), encoding="utf-8")
    if data.lossy:
        write_json(cell.folder / "lossy_answers.json", data.lossy)


def write_predictions(
    folder: Path, lines: Iterable[dict[str, Any]], files: Mapping[str, Any]
) -> None:
    """Write ``predictions.jsonl``, one JSON object a line, unless there is none, and other files.

    Args:
        folder: Of the run.
        lines: One for each evaluation example.
        files: Name -> JSON, or a table.
    """
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if text:
        with write_atomic(folder / "predictions.jsonl") as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name, content in files.items():
        if isinstance(content, pd.DataFrame):
            with write_atomic(folder / name) as temporary:
                content.to_parquet(temporary, index=False)
        else:
            write_json(folder / name, content)
