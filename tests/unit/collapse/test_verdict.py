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


def judge(each, gradients=HEALTHY_GRADIENT):
    gap = swapped_gap(each.gold_loss_N, each.swapped_gold_loss_N)
    return verdict(measures(each), gradients, each.soft_rms / each.embedding_rms, gap)


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


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_is_named_although_it_makes_all_rows_answer_alike(cause):
    """What is not read, or reads nothing, gives every row the same name of several words."""
    dead = {"lora": 0.0, "head": 1e-3} if cause == "dead_lora_gradient" else HEALTHY_GRADIENT
    each = planted(cause)
    if cause == "repetition":  # the latents are read, as the gold answer's loss says
        each = changed(0)
    alike = {name: getattr(each, name) for name in each.__dataclass_fields__}
    found = judge(type(each)(**alike | {"token_ids": [[11, 12, 13]] * ROWS}), dead)
    assert found.cause == cause
    assert any(reason.startswith("top_answer_share 1.000 above 0.5") for reason in found.reasons)


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


@pytest.mark.parametrize("ratio", [0.02, 0.09, 0.11, 1.0, 9.0, 11.0, 100.0, math.nan])
def test_the_scale_may_be_off_by_ten_either_way(ratio):
    found = verdict(measures(healthy(1)), rms_ratio=ratio)
    assert (found.cause == "rms_mismatch") == (not 0.1 <= ratio <= 10)


@pytest.mark.parametrize(("gradient", "dead"), [(0.0, 1), (9e-9, 1), (math.nan, 1), (2e-8, 0)])
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
    for losses in ([1.0], [1.0, math.inf, 2.0]):
        assert math.isnan(swapped_gap(losses, losses).high)
    with pytest.raises(ValueError, match=r"of the same rows, got \(2,\) and \(3,\)"):
        swapped_gap([1.0, 2.0], [1.0, 2.0, 3.0])
