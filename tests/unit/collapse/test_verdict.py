"""Each cause is named where it was planted, and healthy answers raise no alarm."""

import math

import numpy as np
import pytest
from answering import healthy, said
from scipy import stats

from loradrift.collapse import CAUSES, measures, swapped_gap, verdict
from loradrift.collapse.verdict import LEAST_ANSWERS

ROWS = 64
HEALTHY_GRADIENT = {"lora": 1e-5, "head": 1e-3}


def judge(each, gradients=HEALTHY_GRADIENT, **options):
    gap = swapped_gap(each.gold_loss_N, each.swapped_gold_loss_N)
    return verdict(measures(each), gradients, each.soft_rms / each.embedding_rms, gap, **options)


def changed(seed, **changes):
    base = healthy(seed)
    values = {name: getattr(base, name) for name in base.__dataclass_fields__}
    return type(base)(**values | changes)


@pytest.mark.parametrize("seed", range(10))
def test_healthy_answers_raise_no_alarm(seed):
    assert judge(healthy(seed)) == (False, None, ())


def planted(cause, seed=0):
    base = healthy(seed)
    loss = base.gold_loss_N
    match cause:
        case "repetition":  # "the the the", of a model that reads nothing any more
            return changed(seed, token_ids=[[3] * 16] * ROWS, swapped_gold_loss_N=loss)
        case "latent_ignored":
            return changed(seed, swapped_gold_loss_N=loss + 0.01 * np.sin(np.arange(ROWS)))
        case "rms_mismatch":
            return changed(seed, soft_rms=100 * base.embedding_rms)
        case "dead_lora_gradient":
            return base


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_that_is_planted_is_named(cause):
    dead = {"lora": 0.0, "head": 1e-3} if cause == "dead_lora_gradient" else HEALTHY_GRADIENT
    found = judge(planted(cause), dead)
    assert found.collapsed and found.cause == cause
    assert len(found.reasons) == (4 if cause == "repetition" else 1)
    assert cause != "repetition" or found.reasons[0].startswith("repeated_ngram_rate")


def alike(each):
    """The same, with one name of several words for every row."""
    values = {name: getattr(each, name) for name in each.__dataclass_fields__}
    return type(each)(**values | {"token_ids": [[11, 12, 13]] * ROWS})


@pytest.mark.parametrize("cause", CAUSES)
def test_what_makes_all_rows_answer_alike_is_named_before_that(cause):
    """But ignored latents do not: the questions still differ."""
    dead = {"lora": 0.0, "head": 1e-3} if cause == "dead_lora_gradient" else HEALTHY_GRADIENT
    found = judge(alike(planted(cause)), dead)
    assert found.cause == {"latent_ignored": "repetition"}.get(cause, cause)
    assert any(reason.startswith("top_answer_share 1.000 above 0.5") for reason in found.reasons)
    assert any("swapped_gap" in reason for reason in found.reasons) == (
        cause in ("latent_ignored", "repetition")
    )


@pytest.mark.parametrize("ratio", [0.02, 14.0])
@pytest.mark.parametrize("answers", [[[3] * 16], [[]]])
def test_answers_that_nothing_moves_are_no_matter_of_scale_or_gradient(answers, ratio):
    """Weights that have exploded take both with them."""
    loss = np.linspace(1, 3, ROWS)
    gone = said(answers * ROWS, soft_rms=ratio * 0.02, swapped_gold_loss_N=loss)
    found = judge(gone, {"lora": 0.0}, early=True)
    assert found.cause == "repetition"
    names = {reason.split()[0] for reason in found.reasons}
    assert names >= {"rms_ratio", "lora_gradient", "swapped_gap", "top_answer_share"}


@pytest.mark.parametrize(
    ("each", "gradients", "causes"),  # early, and later
    [
        (planted("latent_ignored"), HEALTHY_GRADIENT, (None, "latent_ignored")),
        (alike(healthy(0)), HEALTHY_GRADIENT, (None, "repetition")),
        (alike(planted("latent_ignored")), HEALTHY_GRADIENT, ("repetition", "repetition")),
        (said([[3] * 16] * ROWS), HEALTHY_GRADIENT, ("repetition", "repetition")),
        (planted("rms_mismatch"), HEALTHY_GRADIENT, ("rms_mismatch", "rms_mismatch")),
        (healthy(0), {"lora": 0.0}, ("dead_lora_gradient", "dead_lora_gradient")),
    ],
)
def test_early_neither_equal_answers_nor_ignored_latents_are_a_sign_alone(each, gradients, causes):
    assert (judge(each, gradients, early=True).cause, judge(each, gradients).cause) == causes


def test_a_model_that_answers_nothing_yet_has_not_collapsed():
    """SmolLM2 at the third step: 10 of 16 answers are empty, and other latents cost -0.6 to 0.6."""
    noise = np.resize([1.15, -1.15], 16)
    empty = said([[]] * 10 + [[20 + i] for i in range(6)], swapped_gold_loss_N=np.ones(16) + noise,
                 gold_loss_N=np.ones(16))  # fmt: skip
    assert judge(empty, early=True) == (False, None, ())
    silent = said(empty.token_ids, gold_loss_N=np.ones(16), swapped_gold_loss_N=np.ones(16))
    assert judge(silent, early=True).cause == "repetition"  # now nothing moves it any more


@pytest.mark.parametrize(
    "answers",
    [
        [[3] * 16] * 40 + [[20 + i] for i in range(24)],
        [[3, 4] * 8] * ROWS,
        [[i, i + 100, i, i + 100, i, i + 100, i] for i in range(ROWS)],  # each another loop
        [[3]] * 45 + [[20 + i] for i in range(19)],
        [[]] * 40 + [[20 + i] for i in range(24)],
    ],
)
def test_repetition_of_several_kinds(answers):
    assert judge(said(answers)).cause == "repetition"


@pytest.mark.parametrize(
    "answers",
    [
        [[3, 20 + i] for i in range(ROWS)],  # an article before each name
        [[3] * 16] * 13 + [[20 + i, 21 + i] for i in range(51)],  # a fifth of the rows
        [[20 + i % 8] for i in range(ROWS)],  # eight colours
        [[i] for i in range(44)] + [[]] * 20,
    ],
)
def test_what_is_no_repetition(answers):
    assert judge(said(answers)) == (False, None, ())


def test_few_answers_are_not_judged_for_repetition():
    for rows in (LEAST_ANSWERS - 1, LEAST_ANSWERS):
        assert judge(said([[3] * 16] * rows)).collapsed == (rows == LEAST_ANSWERS)


@pytest.mark.parametrize("ratio", [0.02, 0.09, 0.1, 1.0, 10.0, 11.0, 100.0, math.nan])
def test_the_scale_may_be_off_by_ten_either_way(ratio):
    found = verdict(measures(healthy(1)), rms_ratio=ratio)
    assert (found.cause == "rms_mismatch") == (not 0.1 <= ratio <= 10)


@pytest.mark.parametrize(
    ("name", "bound"),
    [("repeated_ngram_rate", 1 / 2), ("top_token_share", 2 / 3), ("top_answer_share", 1 / 2)],
)
def test_repetition_begins_above_its_bounds(name, bound):
    for value in (bound, bound + 1e-3):
        found = verdict(measures(healthy(1))._replace(**{name: value}))
        assert (found.cause == "repetition") == (value > bound)


@pytest.mark.parametrize(("gradient", "dead"), [(0.0, 1), (9e-9, 1), (math.nan, 1), (1e-8, 0)])
def test_a_gradient_below_adamw_s_epsilon_is_dead(gradient, dead):
    assert (verdict(measures(healthy(1)), {"lora": gradient}).cause is not None) == dead
    assert verdict(measures(healthy(1)), {"head": gradient}).cause is None  # no LoRA trains


def test_the_gap_is_a_paired_t_interval():
    each = healthy(4)
    gap = swapped_gap(each.gold_loss_N, each.swapped_gold_loss_N)
    test = stats.ttest_rel(each.swapped_gold_loss_N, each.gold_loss_N)
    low, high = test.confidence_interval(0.95)
    assert gap[:3] == pytest.approx((test._estimate, low, high))


@pytest.mark.parametrize(("mean", "spread", "ignored"), [
    (0.0, 0.0, 1), (0.0, 0.1, 1), (0.0, 1.0, 0), (0.04, 0.01, 1), (0.06, 0.01, 0), (-1.0, 0.1, 1),
])  # fmt: skip
def test_latents_are_ignored_where_the_gap_is_shown_to_be_small(mean, spread, ignored):
    noise = np.resize([1.0, -1.0], ROWS) * spread
    each = changed(2, swapped_gold_loss_N=healthy(2).gold_loss_N + mean + noise)
    assert (judge(each).cause == "latent_ignored") == ignored


def test_losses_that_say_nothing():
    assert math.isnan(swapped_gap([1.0], [1.0]).high)
    for odd in (math.inf, math.nan):
        losses, odd_losses = [1.0, 3.0, 2.0], [1.0, odd, 2.0]
        for pair in ((losses, odd_losses), (odd_losses, losses)):
            gap = swapped_gap(*pair)
            assert all(map(math.isnan, gap[:3])) and gap.note == "a loss is not finite"
    with pytest.raises(ValueError, match=r"of the same rows, got \(2,\) and \(3,\)"):
        swapped_gap([1.0, 2.0], [1.0, 2.0, 3.0])
