"""Measures of answers against formulas that share no code, their invariances, their ends."""

import math
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from answering import healthy

from loradrift.collapse import latents, measures, text

LOOP = [7] * 16
SETS = [healthy(seed, rows=20).token_ids for seed in range(3)]
MEASURES = [
    text.unique_share, text.top_answer_share, lambda a: text.distinct_n(a, 1),
    lambda a: text.distinct_n(a, 2), text.repeated_ngram_rate, text.top_token_share,
    text.self_bleu, text.vendi,
]  # fmt: skip


@pytest.mark.parametrize("measure", MEASURES)
def test_neither_the_order_nor_the_names_of_tokens_matter(measure):
    answers = [*SETS[0], LOOP, [], [4, 5, 4, 5, 4]]
    renamed = [[1000 - token for token in answer] for answer in reversed(answers)]
    assert measure(renamed) == pytest.approx(measure(answers), abs=1e-12)


@pytest.mark.parametrize("answers", SETS)
def test_shares_of_answers_are_those_of_pairs(answers):
    answers = [*answers, *answers[:5], answers[0]]
    n = len(answers)
    first = sum(all(answers[j] != answers[i] for j in range(i)) for i in range(n))
    most = max(sum(answers[j] == answers[i] for j in range(n)) for i in range(n))
    assert text.unique_share(answers) == first / n
    assert text.top_answer_share(answers) == most / n
    assert 1 / n < first / n < 1


@pytest.mark.parametrize("n", [1, 2, 3])
def test_distinct_n_counts_pooled_n_grams(n):
    answers = [*SETS[1], LOOP]
    pooled = [tuple(a[i + k] for k in range(n)) for a in answers for i in range(len(a) + 1 - n)]
    assert text.distinct_n(answers, n) == len(Counter(pooled)) / len(pooled) < 1
    assert math.isnan(text.distinct_n([[1], []], 2))


@pytest.mark.parametrize(("period", "rate"), [(1, 14 / 15), (2, 13 / 15), (5, 10 / 15), (16, 0)])
def test_a_loop_repeats_all_but_its_first_period(period, rate):
    loop = [i % period for i in range(16)]
    assert text.repeated_ngram_rate([loop]) == pytest.approx(rate)
    assert text.repeated_ngram_rate([loop, [3], [], [3, 4]]) == pytest.approx(rate / 4)


def test_the_top_token_is_one_for_all_answers_and_each_answer_counts_once():
    answers = [[1] * 12, [2, 3], [2, 3], [2, 3], []]
    shares = {t: sum(a.count(t) / len(a) for a in answers if a) / 5 for t in (1, 2, 3)}
    assert text.top_token_share(answers) == max(shares.values()) == pytest.approx(0.3)
    assert text.top_token_share([[4, 4], [4], []]) == pytest.approx(1 / 3)
    assert text.top_token_share([[4], [4], []]) == 0  # alike, but none repeats itself


def bleu(answer: list[int], references: list[list[int]]) -> float:
    """Sentence BLEU of Papineni et al. 2002 with the orders that the answer has.

    A precision of zero is smoothed as in mteval-v13a: the k-th of them is 1 / (2^k total).
    """
    logs, zeros = [], 0
    for n in range(1, min(4, len(answer)) + 1):
        grams = [Counter(tuple(r[i : i + n]) for i in range(len(r) - n + 1)) for r in references]
        own = Counter(tuple(answer[i : i + n]) for i in range(len(answer) - n + 1))
        hits = sum(min(count, max(each[gram] for each in grams)) for gram, count in own.items())
        if not hits and n == 1:
            return 0.0
        zeros += not hits
        logs.append(math.log((hits or 0.5**zeros) / sum(own.values())))
    closest = min((abs(len(r) - len(answer)), len(r)) for r in references)[1]
    brevity = min(0.0, 1 - closest / len(answer))
    return math.exp(brevity + sum(logs) / len(logs))


@pytest.mark.parametrize(
    "answers", [*SETS, [[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 5, 6], [3, 4, 5], [7, 8, 1, 2, 3]]]
)
def test_self_bleu_is_bleu_against_the_others(answers):
    others = [answers[:i] + answers[i + 1 :] for i in range(len(answers))]
    expected = np.mean([bleu(*pair) for pair in zip(answers, others, strict=True)])
    assert text.self_bleu(answers) == pytest.approx(expected, abs=1e-9)


def test_self_bleu_at_its_ends():
    assert text.self_bleu([[1, 2], [3, 4], [5, 6]]) == 0
    assert text.self_bleu([LOOP] * 3) == pytest.approx(1)
    assert text.self_bleu([[], [], [1]]) == pytest.approx(2 / 3)
    assert math.isnan(text.self_bleu([[1]]))
    assert text.self_bleu([[i] for i in range(64)] + [[1]] * 9) == 0  # of the first 64


@pytest.mark.parametrize("answers", SETS)
def test_vendi_is_the_entropy_of_the_matrix_of_cosines(answers):
    def cosine(a, b):
        x, y = Counter(a), Counter(b)
        dot = sum(x[token] * y[token] for token in x)
        return dot / math.hypot(*x.values()) / math.hypot(*y.values())

    n = len(answers)
    k = np.array([[cosine(a, b) for b in answers] for a in answers]) / n
    values = [value for value in np.linalg.eigvalsh(k) if value > 1e-12]
    entropy = -sum(value * math.log(value) for value in values)
    assert text.vendi(answers) == pytest.approx(math.exp(entropy), rel=1e-9)


def test_vendi_counts_what_is_different():
    assert text.vendi([[i] for i in range(9)]) == pytest.approx(9)
    assert text.vendi([[1, 2, 2]] * 9) == pytest.approx(1)
    assert text.vendi([[], [], [1], [1]]) == pytest.approx(2)
    more = [text.vendi([[1, 2]] * k + [[i, i + 1] for i in range(10, 20)]) for k in (1, 10, 100)]
    assert all(a > b for a, b in combinations(more, 2))


def test_every_measure_has_its_own_name():
    said = healthy(5)
    answers, found = said.token_ids, measures(said)
    for name in ("unique_share", "top_answer_share", "repeated_ngram_rate", "self_bleu",
                 "top_token_share", "vendi"):  # fmt: skip
        assert getattr(found, name) == getattr(text, name)(answers)
    assert found.distinct_1 == text.distinct_n(answers, 1) < found.distinct_2
    assert found.distinct_2 == text.distinct_n(answers, 2)
    for name in ("latent_cosine", "first_component_share"):
        assert getattr(found, name) == getattr(latents, name)(said.latents_NMZ)
    assert found.first_token_entropy == pytest.approx(np.mean(said.first_token_entropy_N))
    assert len({*found}) == len(found)


@pytest.mark.parametrize(
    "measure", [text.unique_share, text.top_answer_share, text.repeated_ngram_rate, text.vendi]
)
def test_no_answers_are_an_error(measure):
    with pytest.raises(ValueError, match="on at least one answer, got none"):
        measure([])


def test_all_orders_of_words_are_different_answers():
    assert text.unique_share([list(p) for p in permutations((1, 2, 3))]) == 1
