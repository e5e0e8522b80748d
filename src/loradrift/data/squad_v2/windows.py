"""Questions as overlapping windows of tokens, made once and streamed from an Arrow file.

A row is ``bos question eos context``. A context that does not fit goes on in further windows, each
of which begins with the last ``stride`` tokens of the one before, so that an answer up to that long
is whole in one of them.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from loradrift.caching import cached, entry
from loradrift.data.base import rows_fingerprint
from loradrift.data.batches import Batch
from loradrift.data.squad_v2.encoding import NO_ANSWER, WindowSizes, encode
from loradrift.data.squad_v2.format import Question
from loradrift.data.tokens import read_arrow, tokenizer_fingerprint, write_arrow

LAYOUT = "bos question eos context"
"""Part of the fingerprint: change it together with the code."""

BATCH = 512
"""Questions that are in memory together while windows are made."""

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "question": pa.int32(),
        "input_ids": pa.large_list(pa.int32()),
        "context_at": pa.int32(),
        "spans": pa.large_list(pa.int32()),
        "start": pa.int32(),
        "end": pa.int32(),
    }
)


class Ragged:
    """A list column of a memory-mapped Arrow file: rows are read from the disk when asked for."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._chunks = [
            (chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in column.chunks
        ]
        sizes = [len(offsets) - 1 for offsets, _ in self._chunks]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        number = bisect_right(self._starts, index) - 1
        offsets, values = self._chunks[number]
        place = index - self._starts[number]
        row: NDArray[np.int32] = values[offsets[place] : offsets[place + 1]]
        return row

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The label of each row."""
        lengths: NDArray[np.int64] = np.concatenate(
            [np.diff(offsets) for offsets, _ in self._chunks]
        )
        return lengths


@dataclass(frozen=True)
class Windows:
    """Windows of a split; only numbers per window are in memory, tokens and offsets are mapped."""

    questions: Sequence[Question]
    table: pa.Table
    num_truncated: int
    """Questions that were cut."""

    lossy: tuple[str, ...]
    """Ids of answerable questions whose (first) gold answer does not survive the way from text to
    tokens and back, or is whole in no window."""

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> Sequence[str]:
        """Question id and number of each window, as ``<id>/<n>``."""
        return _Strings(self.table["id"])

    @cached_property
    def question(self) -> NDArray[np.int32]:
        """Place of each window's question in the split."""
        return np.asarray(self.table["question"].to_numpy())

    @cached_property
    def context_at(self) -> NDArray[np.int32]:
        """Token at which each window's context begins."""
        return np.asarray(self.table["context_at"].to_numpy())

    @cached_property
    def starts(self) -> NDArray[np.int32]:
        """First token of the answer in each window; -1 where the window has none."""
        return np.asarray(self.table["start"].to_numpy())

    @cached_property
    def ends(self) -> NDArray[np.int32]:
        """Last token of the answer in each window; -1 where the window has none."""
        return np.asarray(self.table["end"].to_numpy())

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """1 for a window with the answer, 0 for one without."""
        labels: NDArray[np.int64] = (self.starts != NO_ANSWER).astype(np.int64)
        return labels

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window."""
        lengths: NDArray[np.int64] = self._tokens.lengths
        return lengths

    @cached_property
    def _tokens(self) -> Ragged:
        return Ragged(self.table["input_ids"])

    @cached_property
    def _spans(self) -> Ragged:
        return Ragged(self.table["spans"])

    @property
    def counts(self) -> dict[str, int]:
        """Questions, and those whose answer is lost; a row is a window."""
        return {"questions": len(self.questions), "lossy_answers": len(self.lossy)}

    def row(self, index: int) -> NDArray[np.int32]:
        """Token ids of one window."""
        return self._tokens[index]

    def columns(self, index_B: NDArray[np.int64], attention_mask_BT: Tensor) -> Batch:
        """``context_mask`` (B, T), and ``starts`` and ``ends`` (B,), the answer's tokens.

        Both are -1 where a window has no answer.
        """
        places_T = torch.arange(attention_mask_BT.shape[1])
        begin_B = torch.from_numpy(self.context_at[index_B])
        return {
            "context_mask": attention_mask_BT & (places_T >= begin_B[:, None]),
            "starts": torch.from_numpy(self.starts[index_B].astype(np.int64)),
            "ends": torch.from_numpy(self.ends[index_B].astype(np.int64)),
        }

    def text(self, index: int, start: int, end: int) -> str:
        """What the context's tokens from ``start`` to ``end`` (inclusive) of a window stand for."""
        context = self.questions[self.question[index]].context
        spans = self._spans[index]
        first = start - int(self.context_at[index])
        last = end - int(self.context_at[index])
        return str(context[spans[2 * first] : spans[2 * last + 1]]).strip()


class _Strings(Sequence[str]):
    """A string column, read when asked for."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Any) -> Any:
        return self._column[index].as_py()


def windows_fingerprint(tokenizer: Any, sizes: WindowSizes) -> str:
    """Digest of how questions become windows; two runs compare fairly only if it is equal."""
    parts = [tokenizer_fingerprint(tokenizer), json.dumps(sizes), LAYOUT]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_windows(
    questions: Sequence[Question], tokenizer: Any, sizes: WindowSizes, cache: Path
) -> Windows:
    """Windows of all questions, from the cache where they are known.

    Args:
        questions: One split.
        tokenizer: A fast Hugging Face tokenizer.
        sizes: In tokens.
        cache: Folder shared by all runs.

    Raises:
        UserError: If a question leaves no room for the context.
    """
    key = rows_fingerprint(questions) + windows_fingerprint(tokenizer, sizes)
    schema = SCHEMA.append(pa.field("facts", pa.string()))
    table = cached(
        entry(cache / "tokens", key, ".arrow"),
        lambda path: write_arrow(path, schema, _batches(schema, questions, tokenizer, sizes)),
        read_arrow,
    )
    facts = json.loads(table["facts"][-1].as_py())
    return Windows(
        questions, table.drop_columns("facts"), facts["num_truncated"], tuple(facts["lossy"])
    )


def _batches(
    schema: Any, questions: Sequence[Question], tokenizer: Any, sizes: WindowSizes
) -> Iterator[Any]:
    num_truncated, lossy = 0, []
    for first in range(0, len(questions), BATCH):
        rows: list[dict[str, Any]] = []
        for encoded in encode(questions[first : first + BATCH], tokenizer, sizes, first):
            rows += encoded.windows
            num_truncated += encoded.truncated
            lossy += [encoded.id] * encoded.lossy
        # what is known at the end stands in the last row
        facts = json.dumps({"num_truncated": num_truncated, "lossy": lossy})
        rows = [row | {"facts": ""} for row in rows]
        rows[-1]["facts"] = facts if first + BATCH >= len(questions) else ""
        yield pa.RecordBatch.from_pylist(rows, schema=schema)
