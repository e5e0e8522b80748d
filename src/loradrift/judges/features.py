"""Text as numbers: words, and their TF-IDF."""

# Shape suffixes: N answers, V words, K terms of all answers.

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]

LEAST_ANSWERS = 2
"""A term that stands in fewer answers is left out."""


WIDEST = 40
"""Characters of a word and the blank after it, at most: only the beginning of a text is parsed."""

WORD = re.compile(r"\w+(?:['\u2019]\w+)?|[^\w\s]")


def words(text: str, longest: int) -> list[str]:
    """The first ``longest`` words and signs, in lower case.

    >>> words("Well, 2 cats!", 4)
    ['well', ',', '2', 'cats']
    """
    return WORD.findall(text[: WIDEST * longest].lower())[:longest]


def terms(text: str, longest: int) -> list[str]:
    """Words and pairs of neighbours among the first ``longest`` words of a text."""
    found = words(text, longest)
    return found + [f"{a} {b}" for a, b in pairwise(found)]


class Vocabulary(NamedTuple):
    """The terms that count, and the weight of each."""

    terms: tuple[str, ...]
    idf_V: Floats


def fit_vocabulary(answers: Sequence[Sequence[str]]) -> Vocabulary:
    """The terms of answers, with idf = ln((1 + N) / (1 + n)) + 1."""
    counts = Counter(term for own in answers for term in set(own))
    kept = tuple(sorted(term for term, count in counts.items() if count >= LEAST_ANSWERS))
    n_V = np.array([counts[term] for term in kept], dtype=np.float64)
    return Vocabulary(kept, np.log((1 + len(answers)) / (1 + n_V)) + 1)


def tfidf(vocabulary: Vocabulary, answers: Sequence[Sequence[str]]) -> "csr_array":
    """Rows (N, V) of norm 1; 1 + ln(count) times idf. An answer without a known term is zero."""
    from scipy.sparse import csr_array

    place = {term: v for v, term in enumerate(vocabulary.terms)}
    columns: list[int] = []
    counts: list[int] = []
    ends = [0]
    for own in answers:
        found = Counter(place[term] for term in own if term in place)
        columns += found
        counts += found.values()
        ends.append(len(columns))
    place_K = np.array(columns, dtype=np.int32)
    values_K = (1 + np.log(np.array(counts, dtype=np.float64))) * vocabulary.idf_V[place_K]
    row_K = np.repeat(np.arange(len(answers)), np.diff(ends))
    norms_N = np.sqrt(np.bincount(row_K, values_K**2, len(answers)))
    shape = (len(answers), len(vocabulary.terms))
    return csr_array((values_K / norms_N[row_K], place_K, np.array(ends)), shape=shape)
