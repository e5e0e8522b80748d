"""The hypotheses as data: what is claimed, of which numbers, and how it is tested.

A hypothesis bounds a relative change in percent of the control. :mod:`.verdicts` decides them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from numpy.typing import ArrayLike

from loradrift.analysis.drift.arms import Arms
from loradrift.statistics import Variance


class Verdict(StrEnum):
    """What the data say about a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    EQUIVALENT = "equivalent"
    """Refuted, and both sides are equal within the margin: the 90 % interval (two one-sided tests
    at 5 %) lies within it, also where it has no width."""

    UNDECIDED = "undecided"
    NO_DATA = "no data"


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One claim, fixed before the data are seen."""

    name: str
    claim: str
    table: str
    """What it reads, below ``results/``."""

    change: Literal["decrease", "increase"]
    """Control minus treatment, or the reverse; in percent of the control."""

    direction: Literal["at least", "at most"]
    """The side of the margin on which the claim holds."""

    margin: float
    """The margin in percent."""

    test: Literal["sign_flip", "noninferiority"]
    """Exact over seed x task blocks; or a paired t over seeds on ``treatment - (1 - margin)
    control``, for a decrease that is at most the margin."""


def hypotheses_about(arms: Arms) -> tuple[Hypothesis, ...]:
    """The planned family, in the names of what is compared."""
    control, treatment = (arm.label for arm in arms)
    return (
        Hypothesis(
            name="H1 performance", table="performance",
            claim=f"{treatment} loses at most 3 % of {control}'s score",
            change="decrease", direction="at most", margin=3.0, test="noninferiority",
        ),
        Hypothesis(
            name="H2 drift", table="drift",
            claim=f"{treatment} drifts at least 20 % less than {control}",
            change="decrease", direction="at least", margin=20.0, test="sign_flip",
        ),
        Hypothesis(
            name="H3 serving", table="serving",
            claim="serving adapters side by side costs at most 30 % over merged models",
            change="increase", direction="at most", margin=30.0, test="sign_flip",
        ),
    )  # fmt: skip


HYPOTHESES = hypotheses_about(Arms.of())
"""The hypotheses about the default pair."""


class Evidence(NamedTuple):
    """Values of both sides, per task one for each seed, in the same order and unit."""

    treatment: Mapping[str, ArrayLike]
    """NaN where a run is missing."""

    control: Mapping[str, ArrayLike]
    rows: Variance | None = None
    """Jackknife variance of the mean change, in squared percent, where the claim reaches past the
    probe's rows."""

    missing: str = ""
    """Which pairs of runs are missing, and the command that adds them."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A hypothesis and its verdict, ready for JSON: what is undefined is None."""

    hypothesis: Hypothesis
    verdict: Verdict
    estimate: float | None = None
    """The change in percent: mean of the blocks' changes; of a test of non-inferiority the change
    of the mean over seeds and tasks, as the test has it."""

    ci_lower: float | None = None
    ci_upper: float | None = None
    p: float | None = None
    """One-sided, of the hypothesis's own test."""

    p_bonferroni: float | None = None
    p_holm: float | None = None
    p_benjamini_hochberg: float | None = None
    p_sign_flip: float | None = None
    """One-sided, exact, over seed x task blocks."""

    least_p: float | None = None
    """What the exact test can reach at best with these blocks."""

    p_opposite_holm: float | None = None
    """The corrected p-value of the test that the claim is false."""

    p_equivalence: float | None = None
    """The p-value of equality within the margin (two one-sided t tests)."""

    row_standard_error: float | None = None
    """The standard error in percent, by the jackknife over the probe's rows, where the interval
    contains it."""

    num_seeds: int = 0
    num_tasks: int = 0
    note: str = ""
