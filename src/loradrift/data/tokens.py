"""Token ids of a split, made once and read from an Arrow file by every seed and method."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loradrift.caching import cached, entry
from loradrift.data.base import Example, Row, rows_fingerprint
from loradrift.data.batches import Rows

LAYOUT = "bos A [eos B]"
"""How a row becomes tokens. Part of the fingerprint: change it together with the code."""


@dataclass
class TokenTable(Rows):
    """Rows of token ids, memory-mapped: row ``i`` is ``flat[offsets[i]:offsets[i + 1]]``."""

    ids: tuple[str, ...]
    flat: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    """The class of each row; of an example, the place of its target's first token."""

    num_truncated: int

    def __post_init__(self) -> None:
        self.lengths = np.diff(self.offsets)

    @property
    def fingerprint(self) -> str:
        """Digest (sha256) of the token ids, row by row."""
        digest = hashlib.sha256(np.ascontiguousarray(self.lengths).tobytes())
        digest.update(np.ascontiguousarray(self.flat).tobytes())
        return digest.hexdigest()

    def head(self, num_tokens: int) -> "TokenTable":
        """The first rows of a table of running text, with ``num_tokens`` in all.

        The last row may be cut; one token left of it predicts nothing, and is left out.
        """
        ends = np.minimum(self.offsets, num_tokens)
        size = int((np.diff(ends) > 1).sum())
        flat, labels = self.flat[: ends[size]], self.labels[:size]
        return TokenTable(self.ids[:size], flat, ends[: size + 1], labels, self.num_truncated)

    def row(self, index: int) -> NDArray[np.int32]:
        """Token ids of one row."""
        return self.flat[self.offsets[index] : self.offsets[index + 1]]


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Digest (sha256) of everything that decides which ids a text gets."""
    special = json.dumps([tokenizer.bos_token_id, tokenizer.eos_token_id])
    text = tokenizer.backend_tokenizer.to_str() + special
    return hashlib.sha256(text.encode()).hexdigest()


def tokenization_fingerprint(tokenizer: Any, max_length: int) -> str:
    """Digest of how rows become tokens; two runs compare fairly only if it is equal."""
    parts = [tokenizer_fingerprint(tokenizer), str(max_length), LAYOUT]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def tokenize(rows: Sequence[Row], tokenizer: Any, max_length: int, cache: Path) -> TokenTable:
    """Token ids of ``rows`` as ``bos A`` or ``bos A eos B``, cut to ``max_length``.

    Of a pair the longer side is cut first, so that neither disappears.
    """
    key = rows_fingerprint(rows) + tokenization_fingerprint(tokenizer, max_length)

    def encode() -> tuple[list[list[int]], int]:
        bos, eos = special_ids(tokenizer)
        texts = token_ids(tokenizer, [row.text for row in rows])
        pairs = token_ids(tokenizer, [row.pair or "" for row in rows])
        encoded, num_truncated = [], 0
        for row, text, pair in zip(rows, texts, pairs, strict=True):
            separator = eos if row.pair is not None else []
            budget = max_length - len(bos) - len(separator)
            num_truncated += len(text) + len(pair) > budget
            keep_pair = min(len(pair), max(budget // 2, budget - len(text)))
            encoded.append([*bos, *text[: budget - keep_pair], *separator, *pair[:keep_pair]])
        return encoded, num_truncated

    return _cached(cache, key, encode, [row.id for row in rows], [row.label for row in rows])


def tokenize_documents(
    rows: Sequence[Row], tokenizer: Any, max_length: int, cache: Path
) -> TokenTable:
    """Token ids of documents: examples that are all target."""
    examples = [Example(row.id, "", row.text) for row in rows]
    return tokenize_examples(examples, tokenizer, max_length, cache)


def tokenize_examples(
    examples: Sequence[Example], tokenizer: Any, max_length: int, cache: Path
) -> TokenTable:
    """Token ids of each example as ``bos prompt target eos``; the labels say where targets begin.

    Without a prompt, a target longer than ``max_length`` goes on in further rows, but for a rest of
    one token, which predicts nothing. With one, the longer side is cut first: the prompt loses its
    beginning, the target its end.
    """
    key = "examples" + rows_fingerprint(examples) + tokenization_fingerprint(tokenizer, max_length)
    ids: list[str] = []
    starts: list[int] = []

    def encode() -> tuple[list[list[int]], int]:
        bos, eos = special_ids(tokenizer)
        prompts = token_ids(tokenizer, [each.prompt for each in examples])
        targets = token_ids(tokenizer, [each.target for each in examples])
        budget = max_length - len(bos) - len(eos)
        rows, num_truncated = [], 0
        for example, prompt, target in zip(examples, prompts, targets, strict=True):
            kept = len(target)
            if prompt and len(prompt) + kept > budget:
                num_truncated += 1
                kept = max(min(kept, budget // 2), budget - len(prompt))
                prompt = prompt[len(prompt) - (budget - kept) :]  # noqa: PLW2901
            # a target without its end must not teach where to stop
            row = [*bos, *prompt, *target[:kept], *(eos if kept == len(target) else [])]
            pieces = [row[i : i + max_length] for i in range(0, len(row), max_length)]
            pieces = [piece for piece in pieces if len(piece) > 1]
            rows += pieces
            ids.extend(f"{example.id}/{i}" if i else example.id for i in range(len(pieces)))
            starts.extend([len(bos) + len(prompt) if prompt else 0] * len(pieces))
        return rows, num_truncated

    return _cached(cache, key, encode, ids, starts)


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    # Not verbose: it would warn of texts longer than the model takes, which are cut afterwards.
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def special_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that begin and end a text; none where the tokenizer has none."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return [] if bos is None else [bos], [] if eos is None else [eos]


def _cached(
    cache: Path, key: str, encode: Any, ids: Sequence[str], labels: Sequence[int]
) -> TokenTable:
    def make(path: Path) -> None:
        tokens, num_truncated = encode()
        columns = {"id": ids, "input_ids": tokens, "label": labels}
        types = (pa.string(), pa.large_list(pa.int32()), pa.int64())
        schema = pa.schema(zip(columns, types, strict=True))
        schema = schema.with_metadata({"num_truncated": str(num_truncated)})
        write_arrow(path, schema, [pa.RecordBatch.from_pydict(columns, schema)])

    table = cached(entry(cache / "tokens", key, ".arrow"), make, read_arrow)
    column = table["input_ids"].combine_chunks()
    return TokenTable(
        tuple(table["id"].to_pylist()),
        _numpy(column.values),
        _numpy(column.offsets),
        _numpy(table["label"].combine_chunks()),
        int(table.schema.metadata[b"num_truncated"]),
    )


def _numpy(array: Any) -> Any:
    """The same memory; pyarrow's own ``to_numpy`` would import pandas."""
    return np.from_dlpack(array)


def write_arrow(path: Path, schema: Any, batches: Iterable[Any]) -> None:
    """Write record batches as they come: no more than one is held."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def read_arrow(path: Path) -> Any:
    """The table of an Arrow file, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
