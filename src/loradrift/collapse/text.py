"""Diversity and repetition of answers, given as token ids.

- ``distinct_n``: Li et al. 2016, arXiv:1510.03055, section 5.1.
- ``repeated_ngram_rate``: seq-rep-n of Welleck et al. 2020, arXiv:1908.04319, section 6.1.
- ``self_bleu``: Zhu et al. 2018 (Texygen), arXiv:1802.01886, section 3.2; BLEU by sacrebleu
  (Post 2018, arXiv:1804.08771).
- ``vendi``: Friedman and Dieng 2023, arXiv:2210.02410, definition 3.1.
"""

# Shape suffixes: N answers, V distinct tokens.

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

Answers = Sequence[Sequence[int]]

SELF_BLEU_ANSWERS = 64
"""Self-BLEU compares each of the first so many answers with all others of them: the time grows
with the square of their number, and 64 take a fraction of a second."""


def unique_share(answers: Answers) -> float:
    """How many of the answers are different, as a share of all; in (0, 1].

    Example:
        >>> unique_share([[5, 7], [5, 7], [5], [9]])
        0.75
    """
    return len(set(map(tuple, answers))) / _number(answers)


def top_answer_share(answers: Answers) -> float:
    """The share of the answers that are the most frequent one; in (0, 1].

    Example:
        >>> top_answer_share([[5, 7], [5, 7], [5], [9]])
        0.5
    """
    number = _number(answers)
    return max(Counter(map(tuple, answers)).values()) / number


def distinct_n(answers: Answers, n: int) -> float:
    """Distinct n-grams among the n-grams of all answers; in (0, 1].

    NaN where no answer has ``n`` tokens.

    Example:
        >>> distinct_n([[5, 7], [5, 7, 5], [5]], n=1)
        0.3333333333333333
    """
    grams = [gram for answer in answers for gram in _ngrams(answer, n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def repeated_ngram_rate(answers: Answers, n: int = 2) -> float:
    """The share of an answer's n-grams that it had before, as a mean over answers; in [0, 1).

    An answer of fewer than ``n`` tokens repeats nothing. With ``n=2`` every loop is seen whose
    period fits twice into the answer, and a word that is used twice is not.

    Example:
        >>> repeated_ngram_rate([[5, 5, 5, 5, 5], [1, 2, 3]])
        0.375
    """
    _number(answers)
    rates = []
    for answer in answers:
        grams = _ngrams(answer, n)
        rates.append(1 - len(set(grams)) / len(grams) if grams else 0.0)
    return math.fsum(rates) / len(rates)


def top_token_share(answers: Answers) -> float:
    """The share of the most frequent token in an answer, as a mean over answers; in [0, 1].

    One token for all answers. Each answer counts once, so that a few long ones do not decide. An
    answer of one token repeats nothing: no token has a share of it.

    Example:
        >>> top_token_share([[5, 5, 5, 7], [5], [1, 2]])
        0.25
    """
    shares: dict[int, list[float]] = {}
    for answer in answers:
        for token, count in Counter(answer).items() if len(answer) > 1 else ():
            shares.setdefault(token, []).append(count / len(answer))
    return max((math.fsum(each) for each in shares.values()), default=0.0) / _number(answers)


def self_bleu(answers: Answers) -> float:
    """BLEU of each answer with the others as references, as a mean over answers; in [0, 1].

    Of the first :data:`SELF_BLEU_ANSWERS`. An answer of fewer than four tokens is compared by the
    n-grams that it has; an empty one is equal to another empty one and unlike all else. NaN for
    one answer.

    Example:
        >>> round(self_bleu([[5, 7, 8], [5, 7, 8], [1, 2, 3]]), 3)
        0.667
    """
    from sacrebleu.metrics.bleu import BLEU

    compared = answers[:SELF_BLEU_ANSWERS]
    if len(compared) < 2:
        return math.nan
    bleu = BLEU(tokenize="none", effective_order=True)
    words = [" ".join(map(str, answer)) for answer in compared]
    scores = []
    for index, answer in enumerate(words):
        others = words[:index] + words[index + 1 :]
        if answer:
            scores.append(bleu.sentence_score(answer, others).score / 100)
        else:
            scores.append(float("" in others))
    return math.fsum(scores) / len(scores)


def vendi(answers: Answers) -> float:
    """The effective number of different answers; in [1, N].

    The exponential of the entropy of the eigenvalues of K / N, where K holds the cosines between
    the answers' counts of tokens: N where no two share a token, 1 where all have the same.

    Example:
        >>> round(vendi([[5, 7], [7, 5], [1], [2, 3]]), 6)
        2.828427
    """
    _number(answers)
    columns = {token: i for i, token in enumerate(dict.fromkeys(t for a in answers for t in a))}
    counts_NV = np.zeros((len(answers), len(columns) + 1))  # the last is having no token
    for row_V, answer in zip(counts_NV, answers, strict=True):
        for token in answer:
            row_V[columns[token]] += 1
        row_V[-1] = not answer
    units_NV = counts_NV / np.linalg.norm(counts_NV, axis=1, keepdims=True)
    values_N = np.linalg.svd(units_NV, compute_uv=False) ** 2 / len(answers)
    own = values_N[values_N > 0]
    return float(np.exp(-(own * np.log(own)).sum()))


def _ngrams(answer: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(answer[i : i + n]) for i in range(len(answer) - n + 1)]


def _number(answers: Answers) -> int:
    if not answers:
        raise ValueError("collapse is measured on at least one answer, got none")
    return len(answers)
