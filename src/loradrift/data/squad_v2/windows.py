"""Questions as overlapping windows of tokens, made once and streamed from an Arrow file.

A row is ``bos question eos context``. A context that does not fit goes on in further windows, each
of which begins with the last ``stride`` tokens of the one before, so that an answer up to that long
is whole in one of them.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from loradrift.caching import cached, entry
from loradrift.data.arrow import read_arrow, write_arrow
from loradrift.data.base import rows_fingerprint
from loradrift.data.batches import Batch, Rows
from loradrift.data.squad_v2.encoding import NO_ANSWER, WindowSizes, encode
from loradrift.data.squad_v2.format import Question
from loradrift.data.tokens import FORMAT, tokenizer_fingerprint

LAYOUT = "bos question eos context"
"""Part of the fingerprint: change it together with the code."""

BATCH = 512
"""Questions that are in memory together while windows are made."""

NUMBER, LIST = pa.int32(), pa.large_list(pa.int32())
SCHEMA = pa.schema(
    {
        "id": pa.string(), "question": NUMBER, "input_ids": LIST, "context_at": NUMBER,
        "special": LIST, "spans": LIST, "start": NUMBER, "end": NUMBER, "facts": pa.string(),
    }
)  # fmt: skip
"""The facts are empty in all rows but the last: what is known at the end stands there."""


class Ragged:
    """A list column of a memory-mapped Arrow file: rows are read from the disk when asked for."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._chunks = [(c.offsets.to_numpy(), c.values.to_numpy()) for c in column.chunks]
        lengths = [np.diff(offsets) for offsets, _ in self._chunks]
        self._starts = np.cumsum([0, *map(len, lengths)]).tolist()
        self.lengths: NDArray[np.int64] = np.concatenate(lengths)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        number = bisect_right(self._starts, index) - 1
        offsets, values = self._chunks[number]
        place = index - self._starts[number]
        row: NDArray[np.int32] = values[offsets[place] : offsets[place + 1]]
        return row


class Windows(Rows):
    """Windows of a split; ids and numbers are in memory, tokens and offsets are mapped."""

    def __init__(
        self, questions: Sequence[Question], table: pa.Table, num_truncated: int, lossy: list[str]
    ) -> None:
        self.questions = questions
        self.table = table
        self.num_truncated = num_truncated
        """Questions that were cut."""
        self.lossy = tuple(lossy)
        """Ids of answerable questions whose (first) gold answer does not survive the way from text
        to tokens and back, or is whole in no window."""
        self.ids = table["id"].to_pylist()
        """Question id and number of each window, as ``<id>/<n>``."""
        self.question: NDArray[np.int32] = table["question"].to_numpy()
        """Place of each window's question in the split."""
        self.context_at: NDArray[np.int32] = table["context_at"].to_numpy()
        """Token at which each window's context begins."""
        self.starts: NDArray[np.int32] = table["start"].to_numpy()
        """First token of the answer in each window; -1 where the window has none."""
        self.ends: NDArray[np.int32] = table["end"].to_numpy()
        """Last token of the answer in each window; -1 where the window has none."""
        self.labels = (self.starts != NO_ANSWER).astype(np.int64)
        """1 for a window with the answer, 0 for one without."""
        self._tokens, self._spans = Ragged(table["input_ids"]), Ragged(table["spans"])
        self._special = Ragged(table["special"])
        self.lengths = self._tokens.lengths

    @property
    def counts(self) -> dict[str, int]:
        """Questions, and those whose answer is lost; a row is a window."""
        return {"questions": len(self.questions), "lossy_answers": len(self.lossy)}

    def row(self, index: int) -> NDArray[np.int32]:
        """Token ids of one window."""
        return self._tokens[index]

    def is_text(self, index: int) -> NDArray[np.bool_]:
        """Which tokens of one window are question or context."""
        flags = np.ones(self.lengths[index], dtype=np.bool_)
        flags[self._special[index]] = False
        return flags

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
        spans, at = self._spans[index], int(self.context_at[index])
        return str(context[spans[2 * (start - at)] : spans[2 * (end - at) + 1]]).strip()


def windows_fingerprint(tokenizer: Any, sizes: WindowSizes) -> str:
    """Digest of how questions become windows; two runs compare fairly only if it is equal."""
    parts = [tokenizer_fingerprint(tokenizer), json.dumps(sizes), LAYOUT]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_windows(
    questions: Sequence[Question], tokenizer: Any, sizes: WindowSizes, cache: Path
) -> Windows:
    """Windows of all questions of a split, from the cache where they are known.

    Raises:
        UserError: If a question leaves no room for the context.
    """
    key = rows_fingerprint(questions) + windows_fingerprint(tokenizer, sizes)
    table = cached(
        entry(cache / "tokens", FORMAT + key, ".arrow"),
        lambda path: write_arrow(path, SCHEMA, _batches(questions, tokenizer, sizes)),
        read_arrow,
    )
    facts = json.loads(table["facts"][-1].as_py())
    return Windows(questions, table.drop_columns("facts"), **facts)


def _batches(questions: Sequence[Question], tokenizer: Any, sizes: WindowSizes) -> Iterator[Any]:
    facts: dict[str, Any] = {"num_truncated": 0, "lossy": []}
    for first in range(0, len(questions), BATCH):
        rows: list[dict[str, Any]] = []
        for encoded in encode(questions[first : first + BATCH], tokenizer, sizes, first):
            rows += [window | {"facts": ""} for window in encoded.windows]
            facts["num_truncated"] += encoded.truncated
            facts["lossy"] += [encoded.id] * encoded.lossy
        if first + BATCH >= len(questions):
            rows[-1]["facts"] = json.dumps(facts)
        yield pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
