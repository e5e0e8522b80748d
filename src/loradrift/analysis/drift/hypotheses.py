"""The hypotheses as data: what is claimed, of which numbers, and on which side of which ratio.

A hypothesis bounds the ratio of the treatment's value to the control's. All is computed on its
logarithm, so that swapping the arms turns every estimate and interval round. :mod:`.verdicts`
decides them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from numpy.typing import ArrayLike

from loradrift.analysis.drift.arms import Arms
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Variance


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One claim, fixed before the data are seen."""

    name: str
    claim: str
    table: str
    """What it reads, below ``results/``."""

    direction: Literal["at least", "at most"]
    """The side of the margin on which the claim holds."""

    margin: float
    """The ratio of treatment to control at which the claim turns."""

    of_means: bool = False
    """Whether a seed's value is the ratio of its means over tasks, and not the geometric mean of
    its tasks' ratios."""

    @property
    def log_margin(self) -> float:
        """The margin on the scale on which all is computed."""
        return math.log(self.margin)


def hypotheses_about(arms: Arms) -> tuple[Hypothesis, ...]:
    """The planned family, in the names of what is compared."""
    control, treatment = (arm.label for arm in arms)
    return (
        Hypothesis(
            name="H1 performance", table="performance",
            claim=f"{treatment} loses at most 3 % of {control}'s score",
            direction="at least", margin=0.97, of_means=True,
        ),
        Hypothesis(
            name="H2 drift", table="drift",
            claim=f"{treatment} drifts at least 20 % less than {control}",
            direction="at most", margin=0.8,
        ),
        Hypothesis(
            name="H3 serving", table="serving",
            claim="serving adapters side by side costs at most 30 % over merged models",
            direction="at most", margin=1.3,
        ),
    )  # fmt: skip


HYPOTHESES = hypotheses_about(Arms.of())
"""The hypotheses about the default pair."""


class Evidence(NamedTuple):
    """Values of both sides, per task one for each seed, in the same order and unit."""

    treatment: Mapping[str, ArrayLike]
    """NaN where a run is missing."""

    control: Mapping[str, ArrayLike]
    rows: Mapping[str, Variance] | None = None
    """Of each task, the jackknife variance of its mean log ratio, where the claim reaches past the
    probe's rows."""

    rounding: Mapping[str, float] | None = None
    """Of each task, the variance of one seed's log ratio that rounding alone makes, where it was
    measured: seeds cannot vary less."""

    missing: str = ""
    """Which pairs of runs are missing, and the command that adds them."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A hypothesis and its verdict, ready for JSON: what is undefined is None."""

    hypothesis: Hypothesis
    verdict: Verdict
    estimate: float | None = None
    """The mean over seeds of the logarithm of the ratio; ``ci_lower`` and ``ci_upper`` are the ends
    of its 95 % interval."""

    ci_lower: float | None = None
    ci_upper: float | None = None
    ratio: float | None = None
    """The estimate as a ratio of treatment to control; ``ratio_lower`` and ``ratio_upper`` are the
    ends of its 95 % interval."""

    ratio_lower: float | None = None
    ratio_upper: float | None = None
    verdict_lower: float | None = None
    """The ratio's 99 % interval, from which the verdict is read, to ``verdict_upper``."""

    verdict_upper: float | None = None
    task_ratios: dict[str, float] = field(default_factory=dict)
    """The geometric mean over seeds of each task's ratio."""

    p_tasks: float | None = None
    """The p-value of the test that all tasks have the same ratio."""

    tasks_disagree: bool = False
    """Whether they differ by more than noise: the mean over them then answers nothing, and the
    verdict has to hold in each."""

    p: float | None = None
    """One-sided: the interval of confidence ``1 - 2 p`` ends at the margin."""

    p_opposite: float | None = None
    """Likewise of the claim's opposite."""

    p_bonferroni: float | None = None
    p_holm: float | None = None
    p_benjamini_hochberg: float | None = None
    p_opposite_holm: float | None = None
    """The corrected p-value of the test that the claim is false."""

    p_equivalence: float | None = None
    """The p-value of equality within the margin (two one-sided tests)."""

    p_sign_flip: float | None = None
    """One-sided, exact, over the seeds' means."""

    least_p: float | None = None
    """What the exact test can reach at best with these seeds."""

    row_standard_error: float | None = None
    """The standard error of the log ratio by the jackknife over the probe's rows, where the
    interval contains it."""

    rounding_deviation: float | None = None
    """The standard deviation of one seed's log ratio that rounding alone makes, where it was
    measured."""

    num_seeds: int = 0
    num_tasks: int = 0
    note: str = ""

    @property
    def p_of_verdict(self) -> float | None:
        """The p-value of the side of the margin that the estimate is on; a verdict takes 0.005."""
        sides = [p for p in (self.p, self.p_opposite) if p is not None]
        return min(sides, default=None)
