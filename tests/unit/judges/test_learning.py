"""The classifier's parts: words, TF-IDF, the regression, corruptions, fluency."""

from random import Random

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit

from loradrift.judges.corruptions import KINDS, corrupt
from loradrift.judges.features import fit_vocabulary, terms, tfidf, words
from loradrift.judges.fluency import FEATURES, fit_language, fluency
from loradrift.judges.logistic import fit_logistic, predict

TEXTS = ["the cat sat on the mat .", "the dog sat .", "a cat and a dog ran home .", "dogs run ."]


def test_words_and_pairs_of_the_beginning():
    assert words("It's 2 o'clock…OK?", 9) == ["it's", "2", "o'clock", "…", "ok", "?"]
    assert terms("One two three four", 3) == ["one", "two", "three", "one two", "two three"]


def test_tfidf_is_that_of_its_formula():
    vocabulary = fit_vocabulary([text.split() for text in TEXTS])
    assert vocabulary.terms == (".", "cat", "dog", "sat", "the")
    assert vocabulary.idf_V[1] == pytest.approx(np.log(5 / 3) + 1)
    row = tfidf(vocabulary, [["the", "the", "cat", "flew"]]).toarray()[0]
    by_hand = np.array([0, np.log(5 / 3) + 1, 0, 0, (1 + np.log(2)) * (np.log(5 / 3) + 1)])
    np.testing.assert_allclose(row, by_hand / np.linalg.norm(by_hand))
    assert not tfidf(vocabulary, [["nothing", "known"]]).toarray().any()
    assert tfidf(vocabulary, []).shape == (0, 5)


def rows(seed=0, count=300, features=4):
    rng = np.random.default_rng(seed)
    x_NV = rng.normal(size=(count, features))
    targets_N = expit(x_NV @ np.array([2.0, -1.0, 0.0, 0.5]) + 0.3)
    return x_NV, targets_N


def test_the_regression_finds_the_shares_that_its_weights_make():
    x_NV, targets_N = rows()
    model = fit_logistic(x_NV, targets_N, ridge=1e-9)
    np.testing.assert_allclose(model.weights_V, [2.0, -1.0, 0.0, 0.5], atol=2e-3)
    assert model.intercept == pytest.approx(0.3, abs=2e-3)
    np.testing.assert_allclose(predict(model, x_NV), targets_N, atol=1e-3)


@pytest.mark.parametrize("ridge", [0.1, 30.0])
def test_the_regression_is_at_the_minimum_of_its_loss(ridge):
    x_NV, targets_N = rows()
    targets_N = (targets_N > np.random.default_rng(1).random(len(targets_N))).astype(float)
    model = fit_logistic(x_NV, targets_N, ridge)
    errors_N = predict(model, x_NV) - targets_N
    gradient_V = x_NV.T @ errors_N + ridge * model.weights_V
    assert np.abs(np.append(gradient_V, errors_N.sum())).max() < 1e-2
    assert np.abs(fit_logistic(x_NV, targets_N, 1e4).weights_V).max() < 0.1


def test_the_gradient_is_the_one_of_the_loss(monkeypatch):
    from scipy import optimize

    seen = {}
    real = optimize.minimize
    monkeypatch.setattr(
        optimize, "minimize", lambda loss, *a, **k: seen.update(loss=loss) or real(loss, *a, **k)
    )
    fit_logistic(*rows(count=20), ridge=2.0)
    theta = np.array([0.3, -0.2, 0.1, 0.7, -0.4])
    error = check_grad(lambda t: seen["loss"](t)[0], lambda t: seen["loss"](t)[1], theta)
    assert error < 1e-6


@pytest.mark.parametrize("targets", [[0.5, 1.1], [np.nan, 0.5], []])
def test_targets_are_shares(targets):
    with pytest.raises(ValueError, match="targets must be shares between 0 and 1"):
        fit_logistic(np.zeros((len(targets), 1)), np.array(targets), 1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_a_corruption_touches_its_share_of_the_words(kind, share):
    own = [f"own{i}" for i in range(40)]
    other = [f"other{i}" for i in range(40)]
    for seed in range(20):
        rng = Random(seed)
        broken = corrupt(rng, kind, own, other, share).split()
        assert broken == corrupt(Random(seed), kind, own, other, share).split()
        kept = sum(a == b for a, b in zip(own, broken, strict=False))
        tail = next(
            (n for n, (a, b) in enumerate(zip(own[::-1], broken[::-1], strict=False)) if a != b),
            min(len(own), len(broken)),
        )
        head = next(
            (n for n, (a, b) in enumerate(zip(own, broken, strict=False)) if a != b), len(own)
        )
        assert head + tail >= 40 * (1 - share) - 2 or kept >= 40 * (1 - share)
        assert broken != own
    assert corrupt(Random(0), kind, own[:2], [], 1.0)


def test_fluency_sees_order_repetition_and_symbols():
    text = (
        "the old woman walked to the market and bought a loaf of bread for her neighbour , who "
        "had been ill since the winter and could not walk so far any more ."
    )
    model = fit_language([text, "they walked to the market and bought bread ."] * 3)
    shuffled = text.split()
    Random(0).shuffle(shuffled)
    loop = "the old woman walked " + "and bought " * 12
    signs = " ".join("#$@x" for _ in range(20))
    table = fluency(model, [text, " ".join(shuffled), loop, signs, ""])
    own = {name: table[:, i] for i, name in enumerate(FEATURES)}
    assert own["belonging"][0] > own["belonging"][1] + 0.5
    assert own["worst stretch"][0] > own["worst stretch"][1]
    assert own["rarity"][0] == pytest.approx(own["rarity"][1])
    assert own["near repetitions"][2] > 0.7 and own["near repetitions"][0] < 0.2
    assert own["phrases again"][2] > 0.7 > own["phrases again"][0] == 0
    assert own["symbols"][3] > 0.5 > own["symbols"][0] == 0
    assert own["unknown words"][3] == 1 > own["unknown words"][0] == 0
    assert own["unknown spellings"][0] == 0
    assert not table[4].any() and np.isfinite(table).all()
    # a break in one place shows in the worst stretch
    halves = text.split()[:20] + shuffled
    broken = fluency(model, [" ".join(halves)])[0]
    place = FEATURES.index("worst stretch")
    assert broken[place] == pytest.approx(table[1, place], abs=1.0)


def test_a_texts_length_and_end_say_little():
    words_of = [f"w{i % 13}" for i in range(400)]
    text = " ".join(words_of)
    model = fit_language([text])
    long, short = fluency(model, [" ".join(words_of[:110]), " ".join(words_of[:55])])
    for name in ("rarity", "belonging", "worst stretch", "unknown words", "symbols"):
        place = FEATURES.index(name)
        assert long[place] == pytest.approx(short[place], abs=0.05)
