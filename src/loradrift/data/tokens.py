"""Token ids of a split, made once and read from an Arrow file by every seed and method."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loradrift.caching import cached, entry
from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.arrow import read_arrow, write_arrow
from loradrift.data.base import Example, Row, rows_fingerprint
from loradrift.data.batches import Rows

LAYOUT = "bos A [eos B]"
"""How a row becomes tokens. Part of the fingerprint: change it together with the code."""

FORMAT = "text flags "
"""Begins the keys of cached tokens: change it together with what their files hold."""


@dataclass
class TokenTable(Rows):
    """Rows of token ids, memory-mapped: row ``i`` is ``flat[offsets[i]:offsets[i + 1]]``."""

    ids: tuple[str, ...]
    flat: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    """The class of each row; of an example, the place of its target's first token."""

    num_truncated: int
    text_flags: NDArray[np.uint8]
    """1 for each token of ``flat`` that is text, 0 for one that the layout put there."""

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
        flat, flags = self.flat[: ends[size]], self.text_flags[: ends[size]]
        ids, labels = self.ids[:size], self.labels[:size]
        return TokenTable(ids, flat, ends[: size + 1], labels, self.num_truncated, flags)

    def row(self, index: int) -> NDArray[np.int32]:
        """Token ids of one row."""
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def is_text(self, index: int) -> NDArray[np.bool_]:
        """Which tokens of one row are its own text."""
        return self.text_flags[self.offsets[index] : self.offsets[index + 1]].astype(np.bool_)


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

    Raises:
        UserError: If no token of a row's text is left.
    """
    key = rows_fingerprint(rows) + tokenization_fingerprint(tokenizer, max_length)

    def encode() -> Encoded:
        bos, eos = special_ids(tokenizer)
        texts = token_ids(tokenizer, [row.text for row in rows])
        pairs = token_ids(tokenizer, [row.pair or "" for row in rows])
        encoded, num_truncated = [], 0
        for row, text, pair in zip(rows, texts, pairs, strict=True):
            separator = eos if row.pair is not None else []
            budget = max_length - len(bos) - len(separator)
            num_truncated += len(text) + len(pair) > budget
            keep_pair = min(len(pair), max(budget // 2, budget - len(text)))
            first, second = text[: budget - keep_pair], pair[:keep_pair]
            if not (first or second):
                raise UserError(
                    f"row {row.id} has no token of its own text ({excerpt(row.text)}) within "
                    f"task.max_length={max_length}"
                )
            encoded.append(join_parts((bos, 0), (first, 1), (separator, 0), (second, 1)))
        return encoded, num_truncated

    return token_table(cache, key, encode, [row.id for row in rows], [row.label for row in rows])


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

    def encode() -> Encoded:
        bos, eos = special_ids(tokenizer)
        prompts = token_ids(tokenizer, [each.prompt for each in examples])
        targets = token_ids(tokenizer, [each.target for each in examples])
        budget = max_length - len(bos) - len(eos)
        rows: list[TokenRow] = []
        num_truncated = 0
        for example, prompt, target in zip(examples, prompts, targets, strict=True):
            kept = len(target)
            if prompt and len(prompt) + kept > budget:
                num_truncated += 1
                kept = max(min(kept, budget // 2), budget - len(prompt))
                prompt = prompt[len(prompt) - (budget - kept) :]  # noqa: PLW2901
            # a target without its end must not teach where to stop
            ending = eos if kept == len(target) else []
            row = join_parts((bos, 0), (prompt, 1), (target[:kept], 1), (ending, 0))
            cuts = [slice(i, i + max_length) for i in range(0, len(row.ids), max_length)]
            pieces = [TokenRow(row.ids[cut], row.flags[cut]) for cut in cuts]
            pieces = [piece for piece in pieces if len(piece.ids) > 1]
            rows += pieces
            ids.extend(f"{example.id}/{i}" if i else example.id for i in range(len(pieces)))
            starts.extend([len(bos) + len(prompt) if prompt else 0] * len(pieces))
        return rows, num_truncated

    return token_table(cache, key, encode, ids, starts)


def encode_texts(tokenizer: Any, texts: Sequence[str], **options: Any) -> Mapping[str, Any]:
    """Tokenize texts and nothing else: the one way from text to ids.

    No special token is added, and the name of one in a text (``</s>``) is text like any other.
    ``options`` are the tokenizer's own.
    """
    how = {"add_special_tokens": False, "split_special_tokens": True}
    # Not verbose: it would warn of texts longer than the model takes, which are cut afterwards.
    encoded: Mapping[str, Any] = tokenizer(list(texts), verbose=False, **how, **options)
    return encoded


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text (:func:`encode_texts`)."""
    ids: list[list[int]] = encode_texts(tokenizer, texts)["input_ids"]
    return ids


def name_special_tokens(tokenizer: Any, rows: Iterable[tuple[object, ...]]) -> bool:
    """Whether a text of ``rows`` has the name of a special token in it.

    Earlier versions read that name as the token itself.
    """
    tokens = tokenizer.added_tokens_decoder.values()
    names = [token.content for token in tokens if token.special]
    texts = (text for row in rows for text in row if isinstance(text, str))
    return any(name in text for text in texts for name in names)


def special_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that begin and end a text; none where the tokenizer has none."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return [] if bos is None else [bos], [] if eos is None else [eos]


class TokenRow(NamedTuple):
    """Token ids of a row, and 1 for each that is text."""

    ids: list[int]
    flags: list[int]


Encoded = tuple[list[TokenRow], int]
"""Rows, and how many were cut."""


def join_parts(*parts: tuple[Sequence[int], int]) -> TokenRow:
    """One row of several parts; 1 stands with those that are text."""
    ids = [token for tokens, _ in parts for token in tokens]
    return TokenRow(ids, [flag for tokens, flag in parts for _ in tokens])


def token_table(
    cache: Path, key: str, encode: Callable[[], Encoded], ids: Sequence[str], labels: Sequence[int]
) -> TokenTable:
    """The rows that ``encode`` gives, once for each key; it may fill ``ids`` and ``labels``."""

    def make(path: Path) -> None:
        rows, num_truncated = encode()
        tokens, flags = [row.ids for row in rows], [row.flags for row in rows]
        columns = {"id": ids, "input_ids": tokens, "text_flags": flags, "label": labels}
        types = (pa.string(), pa.large_list(pa.int32()), pa.large_list(pa.uint8()), pa.int64())
        schema = pa.schema(zip(columns, types, strict=True))
        schema = schema.with_metadata({"num_truncated": str(num_truncated)})
        write_arrow(path, schema, [pa.RecordBatch.from_pydict(columns, schema)])

    table = cached(entry(cache / "tokens", FORMAT + key, ".arrow"), make, read_arrow)
    column = table["input_ids"].combine_chunks()
    return TokenTable(
        tuple(table["id"].to_pylist()),
        _numpy(column.values),
        _numpy(column.offsets),
        _numpy(table["label"].combine_chunks()),
        int(table.schema.metadata[b"num_truncated"]),
        _numpy(table["text_flags"].combine_chunks().values),
    )


def _numpy(array: Any) -> Any:
    """The same memory; pyarrow's own ``to_numpy`` would import pandas."""
    return np.from_dlpack(array)
