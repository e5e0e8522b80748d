"""What tells a coherent text from a broken one, as numbers.

Words are held against a model of pairs of neighbours (bigrams, interpolated with single words) and
against themselves: how likely they are, whether neighbours belong together, whether they repeat,
whether they are words at all. The worst stretch of :data:`WINDOW` words counts beside the mean, so
that a break in one place is seen. A text's length and its end say nothing: answers are cut off.
"""

# Shape suffixes: N texts, T words, F features.

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from loradrift.judges.features import Floats, words

LONGEST = 120
"""Words of a text that are read."""

WINDOW = 10
NEAR = 6
"""A word that stands among so many before it is a repetition."""

PAIRED = 0.7
"""Weight of a pair's own frequency; the rest is the second word's."""

RARE = 0.5
"""What is added to each word's count, those never seen included."""

PLAIN = frozenset(" '.,;:!?-\"()\n\u2013\u2014\u2018\u2019\u201c\u201d\u2026")
"""Marks of a sentence: also dashes, curly quotes and the ellipsis."""

FEATURES = (
    "rarity", "rarest stretch", "belonging", "worst stretch", "unknown words", "near repetitions",
    "most repetitive stretch", "phrases again", "symbols", "most symbols", "unknown spellings",
)  # fmt: skip


class LanguageModel(NamedTuple):
    """Counts of words, of pairs of neighbours, and of three letters in a row."""

    single: dict[str, int]
    pairs: dict[tuple[str, str], int]
    spellings: frozenset[str]


def fit_language(texts: Iterable[str]) -> LanguageModel:
    """Count the words of coherent texts."""
    single: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        found = words(text, LONGEST)
        single.update(found)
        pairs.update(pairwise(found))
    spellings = frozenset(part for word in single for part in _spelling(word))
    return LanguageModel(dict(single), dict(pairs), spellings)


class Word(NamedTuple):
    """What is known of a word by itself."""

    frequency: int
    strange: float
    unknown: int
    """Of its spelling's parts, those that are in no word of the model."""

    parts: int


def fluency(model: LanguageModel, texts: Sequence[str]) -> Floats:
    """The features of each text, (N, F)."""
    total = sum(model.single.values()) + RARE * (len(model.single) + 1)
    known: dict[str, Word] = {}
    table = [_features(model, known, words(text, LONGEST), total) for text in texts]
    return np.array(table).reshape(-1, len(FEATURES))


def _features(
    model: LanguageModel, known: dict[str, Word], found: list[str], total: float
) -> list[float]:
    if not found:
        return [0.0] * len(FEATURES)
    for word in found:
        if word not in known:
            known[word] = _word(model, word)
    about = [known[word] for word in found]
    count_T = np.array([each.frequency for each in about], dtype=np.float64)
    single_T = (count_T + RARE) / total
    pairs_T = np.array([model.pairs.get(pair, 0) for pair in pairwise(found)], dtype=np.float64)
    pairs_T /= np.maximum(count_T[:-1], 1)
    rarity_T = -np.log(single_T)
    # how much likelier a word is after the one before it
    belonging_T = np.log(PAIRED * pairs_T / single_T[1:] + 1 - PAIRED)
    near_T = np.array([float(_again(found, t)) for t in range(len(found))])
    strange_T = np.array([each.strange for each in about])
    parts = sum(each.parts for each in about)
    return [
        float(rarity_T.mean()),
        _worst(rarity_T),
        float(belonging_T.mean()) if len(belonging_T) else 0.0,
        -_worst(-belonging_T),
        float((count_T == 0).mean()),
        float(near_T.mean()),
        _worst(near_T),
        _phrases_again(found),
        float(strange_T.mean()),
        _worst(strange_T),
        sum(each.unknown for each in about) / max(parts, 1),
    ]


def _word(model: LanguageModel, word: str) -> Word:
    parts = _spelling(word)
    unknown = sum(part not in model.spellings for part in parts)
    return Word(model.single.get(word, 0), _strange(word), unknown, len(parts))


def _again(found: Sequence[str], place: int) -> bool:
    """Whether a word, and no sign, stands among those just before it."""
    return found[place].isalnum() and found[place] in found[max(0, place - NEAR) : place]


def _strange(word: str) -> float:
    """The share of characters that are neither Latin letters, digits, nor marks of a sentence."""
    return sum(not (c in PLAIN or (c.isalnum() and c < "ɐ")) for c in word) / len(word)


def _spelling(word: str) -> list[str]:
    """Three characters in a row, of a word between its ends."""
    whole = f"^{word}$"
    return [whole[i : i + 3] for i in range(len(whole) - 2)] if word[0].isalpha() else []


def _phrases_again(found: Sequence[str]) -> float:
    """The share of three words in a row that stood there before."""
    phrases = list(zip(found, found[1:], found[2:], strict=False))
    return 1 - len(set(phrases)) / len(phrases) if phrases else 0.0


def _worst(values_T: Floats) -> float:
    """The largest mean of a stretch of :data:`WINDOW` words; of all where there are fewer."""
    if len(values_T) <= WINDOW:
        return float(values_T.mean()) if len(values_T) else 0.0
    sums = np.cumsum(np.concatenate([[0.0], values_T]))
    return float((sums[WINDOW:] - sums[:-WINDOW]).max() / WINDOW)
