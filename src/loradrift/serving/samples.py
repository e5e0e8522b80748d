"""What is written of each request, and of each adapter's first one."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from loradrift.files import write_atomic

WRONG = "differs"
"""The ``answer`` of a request that another model has answered."""

UNCHECKED = "unchecked"
"""The ``answer`` of a request that was held against nothing yet."""


class Sample(NamedTuple):
    """One request and its answer; times in seconds."""

    phase: str
    """``offline``, ``closed_loop``, ``open_loop``; ``cold`` (first requests, one at a time) and
    ``rate_search`` (what a server was asked to find its rates) are checked and not timed."""

    arm: str
    load: float
    """Batch size, requests in flight, or requests per second."""

    round: int
    request: int
    """Its place in the call."""

    prompt: int
    asked: str | None
    """The adapter, or the merged model's; None is the base."""

    served: str | None
    """What the engine says has answered: a server names it in its answer, vLLM in this process in
    each request's output. ``hf`` and engines of a merged model repeat what was asked."""

    submitted_s: float
    """Since the call began."""

    ttft_s: float
    """From submission to the first token."""

    latency_s: float
    """From submission to the last token."""

    tokens: int
    token_times_s: list[float]
    """Since submission."""

    token_ids: list[int]
    call_s: float
    """Of the whole call, the same for all its requests."""

    answer: str = UNCHECKED
    """``equal``, ``tie``, ``differs`` or ``unchecked``."""

    equal_tokens: float = 0.0
    """Share of the tokens that are the merged model's."""

    gap: float = 0.0
    """How far (nats) a token is at most below the merged model's best; 0 where all are equal."""

    answered_by: str | None = None
    """Of a wrong answer the model that gives it: ``base``, an adapter, the name that
    the engine gives, or None if none does."""


class ColdStart(NamedTuple):
    """The first request to an adapter, after it was loaded, or a later one."""

    round: int
    arm: str
    adapter: str
    state: str
    """``cold`` or ``warm``."""

    load_s: float
    ttft_s: float


class ReferenceAnswer(NamedTuple):
    """What a merged model, or the base, answers."""

    adapter: str | None
    prompt: int
    token_ids: list[int]
    largest_gap: float
    """How far (nats) a token is at most below transformers' best, in fp32."""


TEXT, NUMBER, REAL = pa.string(), pa.int64(), pa.float64()
TYPES = {
    "phase": TEXT, "arm": TEXT, "load": REAL, "asked": TEXT, "served": TEXT, "submitted_s": REAL,
    "ttft_s": REAL, "latency_s": REAL, "token_times_s": pa.list_(REAL),
    "token_ids": pa.list_(pa.int32()), "call_s": REAL, "answer": TEXT, "equal_tokens": REAL,
    "gap": REAL, "answered_by": TEXT, "adapter": TEXT, "state": TEXT, "load_s": REAL,
    "largest_gap": REAL,
}  # fmt: skip
"""Type of each column; of those that are not here, whole numbers."""

DIGEST = b"loradrift.rows_sha256"
"""Key of a digest of the rows, in a file's own metadata: what is resumed is what was written."""


def write_rows(path: Path, kind: type[Any], rows: Sequence[Any]) -> None:
    """Write rows of one of the types above as Parquet, atomically, with a digest of them."""
    schema = pa.schema([(name, TYPES.get(name, NUMBER)) for name in kind._fields])
    table = pa.Table.from_pylist([row._asdict() for row in rows], schema)
    table = table.replace_schema_metadata({DIGEST: _digest(table.to_pylist())})
    with write_atomic(path) as temporary:
        pq.write_table(table, temporary)


def read_rows(path: Path, kind: type[Any]) -> list[Any]:
    """The rows of a file.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged, has other columns, or other rows than were written.
    """
    with path.open("rb") as file:
        table = pq.ParquetFile(file).read()
    if tuple(table.column_names) != kind._fields:
        raise ValueError(f"its columns are {', '.join(table.column_names)}")
    rows = table.to_pylist()
    if (table.schema.metadata or {}).get(DIGEST) != _digest(rows):
        raise ValueError("its rows are not those that were measured, or of an earlier version")
    return [kind(**row) for row in rows]


def _digest(rows: Sequence[dict[str, Any]]) -> bytes:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest().encode()


def answers_of(samples: Iterable[Sample]) -> dict[str, Any]:
    """How many answers are right, and how near: what ``checks.json`` holds.

    No arm mixes requests for the base model with those for adapters: ``base_answers`` say nothing
    about base rows beside adapters' in one batch.
    """
    checked = [each for each in samples if each.answer != UNCHECKED]
    wrong = [each for each in checked if each.answer == WRONG]
    shares = [each.equal_tokens for each in checked]
    return {
        "answers": len(checked),
        "equal": sum(each.answer == "equal" for each in checked),
        "ties": sum(each.answer == "tie" for each in checked),
        "wrong": len(wrong),
        "wrong_adapter": sum(
            each.answered_by is not None or each.served != each.asked for each in wrong
        ),
        "base_answers": sum(each.asked is None for each in checked),
        "equal_tokens": sum(shares) / len(shares) if shares else None,
        "largest_gap": max((each.gap for each in checked if each.answer != WRONG), default=0.0),
    }
