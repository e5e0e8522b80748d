"""How often each test rejects: at its margin (never above 5 %), and past it.

The tables of ``docs/method.md``: ``python -m pytest -m slow -s tests/slow/test_type_one_error.py``.
Where nothing else is said differences are normal with unit standard deviation over seeds, and
independent of each other.
"""

import math

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics import (
    Variance,
    adjust,
    equivalence,
    hierarchical_bootstrap,
    max_t,
    paired_t,
    sign_flip,
    t_interval,
)

ALPHA = 0.05
DESIGNS = ((3, 3), (5, 3))
EFFECTS = (0.5, 1, 2, 4)
LAYERS = 22

# Each test takes a generator, seeds, tasks and the effect past the margin in standard deviations,
# draws data and says whether it rejects.


def scores(rng, s, t, difference):
    """Means (S,) over the tasks of LoRA and of full fine-tuning."""
    full = rng.normal(80, 1, (s, t))
    lora = full + rng.normal(difference, 1, (s, t))
    return lora.mean(1), full.mean(1)


def sign_flip_two_sided(rng, s, t, effect):
    return sign_flip(rng.normal(effect, 1, (s, t))).p <= ALPHA


def sign_flip_at_a_margin(rng, s, t, effect):
    return sign_flip(rng.normal(20 + effect, 1, (s, t)), 20, "greater").p <= ALPHA


def max_t_any_layer(rng, s, t, effect):
    layers = math.sqrt(0.5) * (rng.normal(size=(s * t, 1)) + rng.normal(size=(s * t, LAYERS)))
    return max_t(layers + effect).p_L.min() <= ALPHA


def paired_t_of_seed_means(*design):
    return paired_t(*scores(*design)).p <= ALPHA


def interval_past_the_rows(ratio):
    """Rows add ``ratio`` times the seeds' variance of the mean."""

    def misses(rng, s, t, effect):
        rows = ratio / (s * t)
        mean = effect + rng.normal(0, math.sqrt(rows))
        variance = Variance(rows * rng.chisquare(255) / 255, 255)
        interval = t_interval(rng.normal(mean, 1, (s, t)).mean(1), variance)
        return not interval.low <= 0 <= interval.high

    return misses


def equivalence_at_its_bound(rng, s, t, effect):
    return equivalence(*scores(rng, s, t, 5 - effect), -5, 5).p <= ALPHA


def any_task_in_a_notebook(rng, s, t, effect):
    full = {task: rng.normal(80, 1, s) for task in range(t)}
    lora = {task: values + rng.normal(effect, 1, s) for task, values in full.items()}
    p_values = {task: paired_t(lora[task], full[task]).p for task in full}
    return any(each.bonferroni < ALPHA for each in adjust(p_values).values())


def linked(rng, s, t, correlation):
    """Normal values (S, T); tasks share a part of each seed's luck."""
    seeds, rest = rng.normal(size=(s, 1)), rng.normal(size=(s, t))
    return math.sqrt(correlation) * seeds + math.sqrt(1 - correlation) * rest


HELD = {
    "sign-flip, two-sided": (sign_flip_two_sided, 4000),
    "sign-flip, one-sided at a margin of 20": (sign_flip_at_a_margin, 4000),
    "max-T, any of 22 layers": (max_t_any_layer, 1000),
    "paired t of seed means": (paired_t_of_seed_means, 2000),
    "interval past the rows, rows 0.1 x seeds": (interval_past_the_rows(0.1), 4000),
    "interval past the rows, rows 1 x seeds": (interval_past_the_rows(1), 4000),
    "equivalence (TOST) at its bound": (equivalence_at_its_bound, 2000),
    "t per task, Bonferroni, any task": (any_task_in_a_notebook, 1000),
}
"""Test -> what rejects, and in how many simulations."""


def examples(rng, s, t, effect, spread):
    """200 examples a task; seeds spread by 1, an example's value within a seed by ``spread``."""
    return {
        task: rng.normal(effect, 1, (s, 1)) + rng.normal(0, spread, (s, 200)) for task in range(t)
    }


def hierarchical(spread, num_tasks):
    def excludes_zero(rng, s, _, effect):
        result = hierarchical_bootstrap(examples(rng, s, num_tasks, effect, spread), rng, 500)
        return not result.low <= 0 <= result.high

    return excludes_zero


def percentile_over_seeds(rng, s, _, effect):
    values = rng.normal(effect, 1, s)
    low, high = np.percentile(values[rng.integers(0, s, (2000, s))].mean(1), [2.5, 97.5])
    return not low <= 0 <= high


def pooled_examples(rng, s, t, effect):
    pooled = np.concatenate([v.ravel() for v in examples(rng, s, t, effect, 10).values()])
    return stats.ttest_1samp(pooled, 0).pvalue <= ALPHA


def linked_seeds(rng, s, t, effect):
    return sign_flip(effect + linked(rng, s, t, 0.3)).p <= ALPHA


def linked_seeds_by_seed_mean(rng, s, t, effect):
    return paired_t(effect + linked(rng, s, t, 0.3).mean(1), np.zeros(s)).p <= ALPHA


def skewed(tail):
    def rejects(rng, s, t, effect):
        values = tail * (rng.exponential(1, (s, t)) - 1)
        return sign_flip(effect + values, alternative="greater").p <= ALPHA

    return rejects


DESCRIBED = {
    "hierarchical bootstrap, examples spread as seeds do": (hierarchical(1, 3), 1000),
    "hierarchical bootstrap, examples spread 10 x as much": (hierarchical(10, 3), 1000),
    "hierarchical bootstrap, one task, as seeds do": (hierarchical(1, 1), 1000),
    "hierarchical bootstrap, one task, 10 x as much": (hierarchical(10, 1), 1000),
    "percentile bootstrap over the seeds of one task": (percentile_over_seeds, 2000),
    "t over pooled examples, spread 10 x as much": (pooled_examples, 1000),
    "sign-flip, tasks of a seed correlated by 0.3": (linked_seeds, 4000),
    "t of seed means, tasks of a seed correlated by 0.3": (linked_seeds_by_seed_mean, 2000),
    "sign-flip one-sided, differences with a long right tail": (skewed(1), 4000),
    "sign-flip one-sided, differences with a long left tail": (skewed(-1), 4000),
}
"""What is not, or not always, a test at 5 %."""


def rate(name, rejects, simulations, design, effect=0.0):
    # each test has draws of its own: luck is not shared
    rng = np.random.default_rng([*name.encode(), *design, round(100 * effect)])
    return np.mean([rejects(rng, *design, effect) for _ in range(simulations)])


def rates(name, rejects, simulations):
    """Of both designs, printed as a row of the table."""
    found = [rate(name, rejects, simulations, design) for design in DESIGNS]
    print(row(name, found))
    return found


def row(name, rates):
    return f"| {name} | " + " | ".join(f"{100 * value:.1f}" for value in rates) + " |"


@pytest.mark.slow
def test_no_test_rejects_too_often_at_its_margin():
    print("\n| percent rejected at the margin | 3 seeds x 3 tasks | 5 seeds x 3 tasks |")
    for name, (rejects, simulations) in HELD.items():
        standard_error = math.sqrt(ALPHA * (1 - ALPHA) / simulations)
        assert max(rates(name, rejects, simulations)) <= ALPHA + 3 * standard_error, name


@pytest.mark.slow
def test_what_rejects_too_often_is_known():
    print("\n| percent rejected without an effect | 3 seeds x 3 tasks | 5 seeds x 3 tasks |")
    of_3_seeds = {name: rates(name, *test)[0] for name, test in DESCRIBED.items()}
    assert of_3_seeds["percentile bootstrap over the seeds of one task"] > 0.15
    assert of_3_seeds["t over pooled examples, spread 10 x as much"] > 0.15
    assert of_3_seeds["hierarchical bootstrap, one task, as seeds do"] > 0.15
    assert of_3_seeds["t of seed means, tasks of a seed correlated by 0.3"] < 0.065


@pytest.mark.slow
def test_power():
    columns = [(design, effect) for design in DESIGNS for effect in EFFECTS]
    print("\n| power in percent |", " | ".join(f"{s}x{t}, {e} sd" for (s, t), e in columns), "|")
    for name, (rejects, _) in HELD.items():
        if name.startswith("interval"):
            continue
        powers = [rate(name, rejects, 200, design, effect) for design, effect in columns]
        print(row(name, powers))
        assert powers[3] > 0.5 and powers[7] > 0.9, name
