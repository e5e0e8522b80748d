"""From contexts with questions to token ids: ``bos shots | context | rest | answer eos``.

A row has four segments. The prefix (``bos`` and the examples, the same for all rows) and the rest
(question and anchor) are text under every way to give the context, and the context alone is what a
soft prompt stands for.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from loradrift.caching import cached, entry
from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.arrow import read_arrow, write_arrow
from loradrift.data.base import rows_fingerprint
from loradrift.data.batches import Batch, Rows
from loradrift.data.reconstruction.rows import ContextRow, Layout
from loradrift.data.squad_v2.windows import Ragged
from loradrift.data.tokens import encode_texts, special_ids, token_ids, tokenizer_fingerprint

LAYOUT = "bos shots | context | rest | answer eos, 1"
"""Part of the fingerprint: change it together with the code."""

LIST = pa.large_list(pa.int32())
COLUMNS = {
    "place": pa.int64(), "context": LIST, "byte_ends": LIST, "rest": LIST, "answer": LIST,
}  # fmt: skip
"""Of the cached tokens; ``place`` is the row's in the split, of which some are dropped."""


class ContextSizes(NamedTuple):
    """The most tokens that a row may have."""

    max_length: int
    """In all."""

    max_context: int
    """Of the context; a longer one is cut."""

    max_answer: int
    """Of the answer without the token that ends it; rows with a longer one are dropped."""


class Encoded(NamedTuple):
    """One row's own tokens; the prefix is the same for all."""

    context: list[int]
    byte_ends: list[int]
    rest: list[int]
    answer: list[int]


class EncodedContexts(Rows):
    """Rows of token ids with the places of their segments.

    A row's label is the place of its answer's first token, as in language modelling.
    """

    def __init__(
        self, rows: Sequence[ContextRow], prefix: Sequence[int], table: pa.Table, ends: int
    ) -> None:
        facts = json.loads(table.schema.metadata[b"facts"])
        self.rows = [rows[place] for place in table["place"].to_pylist()]
        """The rows that are kept, in order."""
        self.ids = tuple(row.id for row in self.rows)
        self.dropped: dict[str, int] = facts["dropped"]
        """Rows that are left out, by reason."""
        self.lossy = tuple(facts["lossy"])
        self.num_truncated = int(facts["cut"])
        """Contexts that were cut."""
        self.prefix = np.asarray(prefix, dtype=np.int32)
        self._columns = {name: Ragged(table[name]) for name in list(COLUMNS)[1:]}
        self._ends = ends
        sizes = {name: column.lengths for name, column in self._columns.items()}
        self.context_start = np.full(len(self.rows), len(self.prefix), dtype=np.int64)
        """Place of each row's first context token."""
        self.context_end = self.context_start + sizes["context"]
        """Place behind its last one, where the rest begins."""
        self.answer_start = self.context_end + sizes["rest"]
        """Place of the answer's first token."""
        self.lengths = self.answer_start + sizes["answer"]
        self.labels = self.answer_start

    @property
    def counts(self) -> dict[str, int]:
        """Contexts, and rows that are left out."""
        contexts = len({row.context for row in self.rows})
        return {"contexts": contexts} | {f"dropped_{k}": n for k, n in self.dropped.items()}

    def row(self, index: int) -> NDArray[np.int32]:
        """Token ids of one row."""
        own = [self._columns[name][index] for name in ("context", "rest", "answer")]
        return np.concatenate([self.prefix, *own])

    def is_text(self, index: int) -> NDArray[np.bool_]:
        """Which tokens are the row's own: neither prefix nor the token that ends it."""
        flags = np.ones(self.lengths[index], dtype=np.bool_)
        flags[: len(self.prefix)] = False
        flags[len(flags) - self._ends :] = False
        return flags

    def columns(self, index_B: NDArray[np.int64], attention_mask_BT: Tensor) -> Batch:
        """``context_start``, ``context_end`` and ``answer_start``, each (B,)."""
        names = ("context_start", "context_end", "answer_start")
        return {name: torch.from_numpy(getattr(self, name)[index_B]) for name in names}

    def byte_ends(self, index: int) -> NDArray[np.int32]:
        """UTF-8 bytes of the context up to the end of each of its tokens; the last is its size."""
        return self._columns["byte_ends"][index]

    @property
    def context_bytes(self) -> NDArray[np.int64]:
        """UTF-8 bytes of each row's context, as far as it is kept."""
        sizes = [int(self.byte_ends(i)[-1]) for i in range(len(self))]
        return np.asarray(sizes, dtype=np.int64)


def contexts_fingerprint(tokenizer: Any, layout: Layout, sizes: ContextSizes) -> str:
    """Digest of how rows become tokens; two runs compare fairly only if it is equal."""
    parts = [tokenizer_fingerprint(tokenizer), json.dumps([layout, sizes]), LAYOUT]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def encode_contexts(
    rows: Sequence[ContextRow], tokenizer: Any, layout: Layout, sizes: ContextSizes, cache: Path
) -> EncodedContexts:
    """Token ids of the rows that can be answered within the sizes; the others are counted.

    Raises:
        UserError: If a context has no tokens, a row leaves it no room, or no row is left.
    """
    key = rows_fingerprint(rows) + contexts_fingerprint(tokenizer, layout, sizes)
    assert len({row.shots for row in rows}) == 1, "all rows of a run have the same examples"
    bos, eos = special_ids(tokenizer)
    prefix = [*bos, *token_ids(tokenizer, [rows[0].shots])[0]] if rows[0].shots else bos

    def make(path: Path) -> None:
        kept, facts = _encode(rows, tokenizer, layout, sizes, (prefix, eos))
        schema = pa.schema(COLUMNS, metadata={"facts": json.dumps(facts)})
        names = list(COLUMNS)
        values = zip(*((place, *encoded) for place, encoded in kept), strict=True)
        columns = dict(zip(names, map(list, values), strict=True))
        write_arrow(path, schema, [pa.RecordBatch.from_pydict(columns, schema)])

    table = cached(entry(cache / "tokens", f"contexts {key}", ".arrow"), make, read_arrow)
    return EncodedContexts(rows, prefix, table, len(eos))


def continued_ids(tokenizer: Any, texts: Sequence[str], after: str = ":") -> list[list[int]]:
    """Token ids of texts that stand behind other text, for which ``after`` is a stand-in.

    Some tokenizers mark the beginning of a text as they mark a word's.
    """
    [before] = token_ids(tokenizer, [after])
    joined = token_ids(tokenizer, [after + text for text in texts])
    alone = token_ids(tokenizer, texts)
    size = len(before)
    return [
        ids[size:] if ids[:size] == before else plain
        for ids, plain in zip(joined, alone, strict=True)
    ]


def _encode(
    rows: Sequence[ContextRow],
    tokenizer: Any,
    layout: Layout,
    sizes: ContextSizes,
    fixed: tuple[list[int], list[int]],
) -> tuple[list[tuple[int, Encoded]], dict[str, Any]]:
    """The kept rows with their places in the split, and what is known of the others."""
    prefix, eos = fixed
    texts = list(dict.fromkeys(row.context for row in rows))
    encoded = encode_texts(tokenizer, texts, return_offsets_mapping=True)
    found = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    contexts = dict(zip(texts, found, strict=True))
    rests = continued_ids(tokenizer, [layout.rest(row.question) for row in rows])
    answers = continued_ids(tokenizer, [f" {row.answers[0]}" for row in rows])
    back = tokenizer.batch_decode(answers)
    dropped: Counter[str] = Counter()
    kept: list[tuple[int, Encoded]] = []
    lossy, cut = [], 0
    for place, (row, rest, answer) in enumerate(zip(rows, rests, answers, strict=True)):
        ids, offsets = contexts[row.context]
        if not ids:
            raise UserError(f"the context of row {row.id} has no tokens ({excerpt(row.context)!r})")
        room = sizes.max_length - len(prefix) - len(rest) - sizes.max_answer - len(eos)
        if room < 1:
            raise UserError(
                f"task.max_length={sizes.max_length} leaves no token for the context of row "
                f"{row.id}: {len(prefix)} are of what stands before it, {len(rest)} of the "
                f"question, and {sizes.max_answer + len(eos)} are kept for the answer"
            )
        size = min(len(ids), sizes.max_context, room)
        if len(answer) > sizes.max_answer:
            dropped["long_answer"] += 1
        elif row.answer_end > offsets[size - 1][1]:
            dropped["answer_behind_cut"] += 1
        else:
            cut += size < len(ids)
            lossy += [row.id] * (back[place].strip() != row.answers[0].strip())
            ends = _byte_ends(row.context, offsets[:size])
            kept.append((place, Encoded(ids[:size], ends, rest, [*answer, *eos])))
    if not kept:
        raise UserError(f"none of {len(rows)} rows is left: {_why(dropped, sizes)}")
    return kept, {"dropped": dict(sorted(dropped.items())), "lossy": lossy, "cut": cut}


def _why(dropped: Counter[str], sizes: ContextSizes) -> str:
    """How many rows are dropped for which reason, with the keys that decide it."""
    reasons = {
        "long_answer": f"an answer of more than task.max_answer_tokens={sizes.max_answer}",
        "answer_behind_cut": (
            "an answer behind what is read of its context "
            f"(task.max_context_tokens={sizes.max_context}, task.max_length={sizes.max_length})"
        ),
    }
    return ", ".join(f"{number} have {reasons[each]}" for each, number in sorted(dropped.items()))


def _byte_ends(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Bytes of the text up to the end of each token."""
    before = [0, *accumulate(len(character.encode()) for character in text)]
    return [before[end] for _, end in offsets]
