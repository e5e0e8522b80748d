"""All runs' classifiers from one vLLM engine in one batch, held against what the runs said."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.generation.base import EngineSettings, Request
from loradrift.runs import read_record
from loradrift.serving.classification_check import (
    MARGIN,
    Asked,
    Row,
    compare,
    problem_of,
    right_logits,
)
from loradrift.serving.export_servable import Servable

KV_CACHE_BYTES = 64 * 2**20


def classify_runs(
    servables: Sequence[Servable],
    cache: Path,
    *,
    rows: int,
    dtype: str = "float32",
    threads: int | None = None,
    accelerator: str = "cpu",
) -> dict[str, Any]:
    """Classify evaluation rows of all runs in one batch of one engine, and compare.

    Labels are compared row by row with the run's ``predictions.jsonl``, logits with those of
    transformers and PEFT in fp32. In bfloat16 logits must also be nearer to those of the run than
    to those of its head without its adapter, and of the other runs. Starts vLLM in this process.

    Args:
        servables: Exports; those without a classifier are left out.
        cache: Folder of corpora and tokens.
        rows: Most rows of each task, evenly of all that the run was evaluated on.
        dtype: Of the engine.
        threads: CPU threads.
        accelerator: ``cpu`` or ``gpu``.

    Returns:
        ``tasks`` (name -> :class:`Classified`), ``problem`` (one line, or None), and what was
        asked. Nothing is timed: a server may be starting beside it.

    Raises:
        UserError: If there is no classifier, they stand on several base models, their data are
            not here, or vLLM cannot serve them.
    """
    from loradrift.generation.vllm_classify import open_classifier

    heads = [each for each in servables if each.classifier is not None]
    base = _shared_base(heads)
    asked = {each.name: _ask(each, base, cache, rows, dtype) for each in heads}
    by_name = {each.name: each for each in heads}
    requests = _in_turn(asked)
    settings = EngineSettings(
        model=base,
        adapters={each.name: each.classifier for each in heads if each.classifier is not None},
        dtype=dtype,
        accelerator=accelerator,
        threads=threads,
        max_length=max(len(request.prompt_ids) for request in requests),
        kv_cache_bytes=KV_CACHE_BYTES,
    )
    labels = {each.name: each.num_labels for each in heads if each.num_labels is not None}
    with open_classifier(settings, labels) as engine:
        answers = engine.classify(requests)
    got: dict[str, list[list[float]]] = {name: [] for name in asked}
    for request, logits in zip(requests, answers, strict=True):
        assert request.adapter is not None
        got[request.adapter].append(logits)
    right = right_logits(heads, asked, rivals=dtype == "bfloat16")
    tasks = {n: compare(each, asked[n], got[n], right[n]) for n, each in by_name.items()}
    problem = next(filter(None, (problem_of(n, each, dtype) for n, each in tasks.items())), None)
    return {
        "tasks": {name: asdict(each) for name, each in tasks.items()},
        "rows": len(requests),
        "dtype": dtype,
        "problem": problem,
    }


def _shared_base(heads: Sequence[Servable]) -> Path:
    """The one model that all classifiers are for."""
    if not heads:
        raise UserError("no export holds a classifier: there is nothing to classify with")
    bases = {each.classifier_base: each.name for each in heads if each.classifier_base is not None}
    if len(bases) > 1:
        places = " and ".join(f"{base} ({name})" for base, name in bases.items())
        raise UserError(f"classifiers in one engine need one base model, got {places}")
    return next(iter(bases))


def _ask(servable: Servable, base: Path, cache: Path, count: int, dtype: str) -> Asked:
    """Rows that the run was evaluated on, with what it said of them."""
    from loradrift.serving.run_rows import evaluation_table

    run = read_record(servable.source)
    if run is None:
        raise UserError(f"{servable.source} is no run: nothing says which rows it is for")
    table = evaluation_table(run, base, cache)
    said = _predictions(servable.source)
    chosen = range(len(table)) if count >= len(table) else _evenly(count, len(table))
    rows = []
    for number in chosen:
        name = table.ids[number]
        if name not in said:
            raise UserError(f"{servable.source / 'predictions.jsonl'} says nothing of row {name}")
        rows.append(Row(name, tuple(map(int, table.row(number))), said[name]))
    precision = str(run.config.get("trainer", {}).get("precision", "32-true"))
    lower = dtype == "bfloat16" or precision != "32-true"
    return Asked(rows, MARGIN["bfloat16" if lower else "float32"])


def _evenly(count: int, size: int) -> list[int]:
    return [i * size // count for i in range(count)]


def _predictions(folder: Path) -> dict[str, int]:
    """Id of each row -> the label that the run chose."""
    path = folder / "predictions.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(line["id"]): int(line["prediction"]) for line in lines}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _in_turn(asked: dict[str, Asked]) -> list[Request]:
    """One row of each task after another, so that every batch mixes the adapters."""
    columns = [
        [Request(row.id, row.tokens, name) for row in each.rows] for name, each in asked.items()
    ]
    return [request for turn in zip_longest(*columns) for request in turn if request is not None]
