"""The official figures, against transformers' copy of the published script and by hand."""

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from transformers.data.metrics import squad_metrics as published

from loradrift.config import UserError
from loradrift.data.squad_v2.format import Answer, Question, read_squad
from loradrift.data.squad_v2.metrics import evaluate, normalize_answer, some

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HARD = (
    "the The THE a an A. theory banana anthem l'an a-b don't U.S. us $5 5 5% 1,000 1000 - . ... ' "
    "_ a_b STRASSE stra\u00dfe \u0130stanbul \u00e9t\u00e9 \u201cthe\u201d the\u2019s "
    "\u5317\u4eac \u2014 \u2013 \u00ab"
)
WORDS = [*HARD.split(), "caf\u00e9\u00a0a"]
GAPS = [" ", "  ", "\t", "\n", "\u00a0", "\u2003", "", "\u200b", "\u2028"]

pieces = st.lists(st.tuples(st.sampled_from(GAPS), st.sampled_from(WORDS)), max_size=5)
texts = st.one_of(
    st.sampled_from(["", " ", "\n\t", "the", "A", ".", "?!", "\u2019", "the a an", "\u00a0"]),
    pieces.map(lambda pairs: "".join(gap + word for gap, word in pairs)),
    st.text(max_size=8),
)
ties = st.sampled_from([0, 1, 0.0, 0.5, 1.0])
probabilities = st.one_of(ties, st.floats(-3, 3, allow_nan=False))


@st.composite
def cases(draw):
    """Gold texts, predictions and probabilities, each in an order of its own."""
    ids = [f"q{i}" for i in range(draw(st.integers(1, 12)))]
    gold = {id: draw(st.lists(texts, max_size=3)) for id in draw(st.permutations(ids))}
    near = st.sampled_from([text for each in gold.values() for text in each] or [""])
    longer = st.tuples(near, texts).map(" ".join)
    guesses = {id: draw(st.one_of(texts, near, longer)) for id in draw(st.permutations(ids))}
    na = {id: draw(probabilities) for id in draw(st.permutations(ids))}
    return gold, guesses, na


def ask(gold):
    golds = {id: tuple(Answer(text, 0) for text in texts) for id, texts in gold.items()}
    return [Question(id, "?", "", answers, (), "") for id, answers in golds.items()]


def published_figures(gold, guesses, na, threshold=1.0):
    """A missing guess ends in a KeyError."""
    answers = {id: [{"text": text} for text in texts] for id, texts in gold.items()}
    examples = [SimpleNamespace(qas_id=id, answers=each) for id, each in answers.items()]
    figures = published.squad_evaluate(examples, guesses, na, threshold)
    # without na it takes zeros, and tunes a threshold on them
    return {k: v for k, v in figures.items() if na is not None or not k.startswith("best")}


def same(ours, theirs):
    """Names, order, values and how JSON writes them: to the last digit."""
    assert [(k, repr(v)) for k, v in ours.items()] == [(k, repr(v)) for k, v in theirs.items()]


@settings(UNHURRIED, max_examples=100)
@given(cases(), st.sampled_from([1.0, 0.5, 0.0, -1.0, 2]), st.booleans())
@example(({"q": ["the"]}, {"q": "a"}, {"q": 0}), 1.0, True)
def test_any_predictions_give_the_published_figures(case, threshold, with_na):
    gold, guesses, na = case
    na = na if with_na else None
    evaluation = evaluate(ask(gold), guesses, na, threshold)
    assert (evaluation.missing, evaluation.unknown) == ([], [])
    same(evaluation.figures, published_figures(gold, guesses, na, threshold))


@settings(UNHURRIED, max_examples=60)
@given(cases(), st.data())
def test_missing_and_unknown_ids_are_in_no_figure(case, data):
    gold, guesses, na = case
    missing = data.draw(st.lists(st.sampled_from(sorted(gold)), unique=True))
    missing = missing[: len(gold) - 1]
    partial = {"other": "x"} | {id: t for id, t in guesses.items() if id not in missing}
    evaluation = evaluate(ask(gold), partial, na | {"stray": 0.1})
    assert evaluation.missing == [id for id in gold if id in missing]
    assert evaluation.unknown == ["other"]
    left = {id: texts for id, texts in gold.items() if id not in missing}
    same(evaluation.figures, published_figures(left, partial, na))
    if missing:
        with pytest.raises(KeyError):  # where the published script stops
            published_figures(gold, partial, na)


@settings(UNHURRIED, max_examples=200)
@given(texts)
def test_normalisation_is_the_published_one(text):
    assert normalize_answer(text) == published.normalize_answer(text)


def test_normalisation_by_hand():
    for text, expected in (
        ("The  Quick,\tbrown\nfox.", "quick brown fox"), ("the-end", "theend"), ("l'a", "la"),
        ("theory of a banana in an anthem", "theory of banana in anthem"),
        ("a.m. on A Day", "am on day"),  # punctuation goes first: "a.m." is one word
        ("\u201cThe\u201d end\u2019s", "\u201c \u201d end\u2019s"),  # curly quotes stay
        ("The\u2019s and a\u2019", "\u2019s and \u2019"), ("a\u2014b", "\u2014b"),
        ("\u5317\u4eac the\u00a0city", "\u5317\u4eac city"),  # a no-break space is a space
        ("The a an", ""), (".,!", ""), (" \n", ""),
    ):  # fmt: skip
        assert normalize_answer(text) == expected


def test_one_question_by_hand():
    for gold, guess, exact, f1 in (
        (["Denver Broncos"], "the denver broncos!", 100.0, 100.0),
        (["a b c d"], "b c x", 0.0, 66.66666666666666),  # "a" goes
        (["x x y"], "x", 0.0, 50.0), (["x"], "x x", 0.0, 66.66666666666666),  # a word counts once
        (["far off", "near"], "Near", 100.0, 100.0),  # the best gold answer
        (["two words", "one"], "two", 0.0, 66.66666666666666),
        (["x"], "", 0.0, 0.0), (["x"], "...", 0.0, 0.0),  # normalises to nothing
        ([], "x", 0.0, 0.0), ([], "", 100.0, 100.0), ([], "  ", 100.0, 100.0),
        ([], "the", 100.0, 100.0),  # no answer once normalised
        (["the"], "", 100.0, 100.0),  # no gold answer is left: "" is right
        (["the", "x"], "", 0.0, 0.0),  # one is left
        (["v w x y z"], "x", 0.0, 33.333333333333336),  # 2 p r / (p + r), not 2 * 1 / (1 + 5)
    ):  # fmt: skip
        figures = evaluate(ask({"q": gold}), {"q": guess}).figures
        kind = "HasAns" if gold else "NoAns"
        expected = {"exact": exact, "f1": f1, "total": 1}
        expected |= {f"{kind}_{name}": value for name, value in expected.items()}
        assert figures == expected, "to the last digit"


def test_the_best_threshold_by_hand():
    # From 2 of 4 (all abstain): q1 right, 3; q2 answered in vain, 2; q3 right, 3: no more than
    # the first 3; q4's "." is an answer here although its score is 1, 2.
    gold = {"q1": ["x"], "q2": [], "q3": ["y"], "q4": []}
    guesses = {"q1": "x", "q2": "z", "q3": "y", "q4": "."}
    na = {"q1": 0.2, "q2": 0.3, "q3": 0.4, "q4": 0.9}
    figures = evaluate(ask(gold), guesses, na).figures
    assert list(figures)[-4:] == ["best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"]
    assert (figures["best_exact"], figures["best_exact_thresh"]) == (75.0, 0.2)
    assert figures["exact"] == 75.0 and figures["NoAns_exact"] == 50.0


def test_equal_probabilities_count_in_the_order_of_their_file_and_none_abstains_at_a_threshold():
    gold, guesses = {"no": [], "yes": ["x"]}, {"no": "z", "yes": "x"}
    for order, best in (("yes", "no"), 100.0), (("no", "yes"), 50.0):
        # no threshold gives the 100; it is what is published
        figures = evaluate(ask(gold), guesses, dict.fromkeys(order, 0.5)).figures
        assert figures["best_exact"] == best
    gold, guesses = {"q1": ["x"], "q2": ["x"]}, {"q1": "x", "q2": "x"}
    assert evaluate(ask(gold), guesses, {"q1": 0.5, "q2": 0.6}, 0.5).figures["exact"] == 50.0
    # of answers that all normalise to nothing the question is still answerable
    assert evaluate(ask({"q": ["the"]}), {"q": ""}, {"q": 0.6}, 0.5).figures["exact"] == 0.0


def test_the_official_dev_set(shared):
    dev = read_squad(shared / "squad_v2/dev-v2.0.json.gz")
    abstain = evaluate(dev, {q.id: "" for q in dev}).figures
    assert abstain == {
        "exact": 50.07159100480081, "f1": 50.07159100480081, "total": 11873,
        "HasAns_exact": 0.0, "HasAns_f1": 0.0, "HasAns_total": 5928,
        "NoAns_exact": 100.0, "NoAns_f1": 100.0, "NoAns_total": 5945,
    }  # fmt: skip
    right = evaluate(dev, {q.id: q.answers[0].text if q.answers else "" for q in dev}).figures
    assert {value for name, value in right.items() if not name.endswith("total")} == {100.0}

    guesses, na = {}, {}
    for i, q in enumerate(dev):  # half of the answers are wrong
        words = q.context.split()
        span = " ".join(words[i % len(words) :][: i % 7])
        guesses[q.id] = (q.answers or q.plausible or (Answer(span, 0),))[0].text if i % 3 else span
        na[q.id] = (i * 37 % 101) / 100
    gold = {q.id: [answer.text for answer in q.answers] for q in dev}
    figures = evaluate(dev, guesses, na, 0.8).figures
    assert 30 < figures["exact"] < figures["f1"] < 60
    same(figures, published_figures(gold, guesses, na, 0.8))


def test_files_that_do_not_belong_together():
    with pytest.raises(UserError, match=r"none of its 2 ids is one of the \d+ questions"):
        evaluate(ask({"q": []}), {"x": "", "y": ""})
    with pytest.raises(UserError, match=r"na_probs lacks 1 \('p'\), for which there are predict"):
        evaluate(ask({"q": [], "p": [], "o": []}), {"p": "", "q": ""}, {"q": 0.5})
    assert some(list("abcde")) == "5 ('a', 'b', 'c' and 2 more)"  # of one: above
