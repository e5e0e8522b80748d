"""Every arm against the baseline, the ladder and its own swapped latents."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.scores import Scores
from loradrift.analysis.reconstruction.verdicts import (
    Effect,
    direction,
    judge,
    mirrored,
)
from loradrift.config import UserError
from loradrift.statistics import Interval
from loradrift.statistics.clustered import Resampled


class Comparison(NamedTuple):
    """One arm; intervals are at 95 % unless said otherwise."""

    arm: Arm
    seeds: Sequence[int]
    f1: Interval
    em: Interval
    gold_loss: Interval
    share: Interval | None
    """F1 as a share of the full text's."""

    gain: Interval | None
    """F1 less the baseline's; None for the baseline itself, or where no seed has both."""

    wide: Interval | None
    """The same at a level for all arms together (Bonferroni)."""

    loss_gain: Interval | None
    """Gold loss less the baseline's."""

    swapped_f1: Interval | None
    """F1 with a row's own latents less that with another row's."""

    swapped_loss: Interval | None
    """Gold loss with another row's latents less that with its own."""

    over_nothing: Interval | None
    """F1 less that without a context."""

    loss_over_nothing: Interval | None
    """Gold loss less that without a context."""

    ignoring: Sequence[int] | None
    """Seeds of which neither F1 nor gold loss gets worse with another row's latents, over all rows;
    None where latents were not swapped."""

    @property
    def effect(self) -> Effect:
        """The class of the gain."""
        return judge(self.gain)

    @property
    def loss(self) -> Effect:
        """The class of what is lost: of the gain of the baseline over this arm."""
        return judge(mirrored(self.gain))

    @property
    def latent_ignored(self) -> bool | None:
        """Whether any seed ignores its latents; None where latents were not swapped.

        An interval over few seeds holds 0 for many a reason: it is no sign that latents are
        ignored.
        """
        return None if self.ignoring is None else bool(self.ignoring)

    @property
    def below_no_context(self) -> bool | None:
        """Whether F1 is lower, or the gold answer less likely, than without a context."""
        if self.over_nothing is None or self.loss_over_nothing is None:
            return None
        return self.over_nothing.estimate < 0 or self.loss_over_nothing.estimate > 0


def find_baseline(scores: Scores, method: str) -> Arm:
    """The arm of a method.

    Raises:
        UserError: If the method has several arms.
    """
    own = [arm for arm in scores.by_arm if arm.method == method]
    if len(own) != 1:
        texts = "; ".join(arm.text for arm in own)
        raise UserError(f"baseline={method} must be one arm, got {len(own)} ({texts})")
    return own[0]


def compare(scores: Scores, baseline: Arm, confidence: float = 0.95) -> list[Comparison]:
    """Compare every arm, in the order of reports."""
    others = max(1, len(scores.by_arm) - 1)
    full = scores.of_base("full_text", "f1")
    nothing = {column: scores.of_base("no_context", column) for column in ("f1", "gold_loss")}
    found = []
    for arm in scores.by_arm:
        own = {c: _known(scores.of_arm(arm, c)) for c in ("f1", "em", "gold_loss")}
        swapped = {c: scores.of_arm(arm, c, "swapped") for c in ("f1", "gold_loss")}
        gain = loss_gain = None
        if arm != baseline:
            gain = scores.difference(arm, baseline, "f1")
            loss_gain = scores.difference(arm, baseline, "gold_loss")
        share = own["f1"].over(full) if full and full.value else None
        found.append(
            Comparison(
                arm=arm,
                seeds=scores.seeds(arm),
                f1=own["f1"].interval(confidence),
                em=own["em"].interval(confidence),
                gold_loss=own["gold_loss"].interval(confidence),
                share=_interval(share, confidence),
                gain=_interval(gain, confidence),
                wide=_interval(gain, 1 - (1 - confidence) / others),
                loss_gain=_interval(loss_gain, confidence),
                swapped_f1=_apart(own["f1"], swapped["f1"], confidence),
                swapped_loss=_apart(swapped["gold_loss"], own["gold_loss"], confidence),
                over_nothing=_apart(own["f1"], nothing["f1"], confidence),
                loss_over_nothing=_apart(own["gold_loss"], nothing["gold_loss"], confidence),
                ignoring=ignoring_seeds(scores, arm, confidence),
            )
        )
    return found


def ignoring_seeds(scores: Scores, arm: Arm, confidence: float) -> list[int] | None:
    """The seeds of an arm whose latents are ignored, each judged over its own rows."""
    found = []
    for seed in scores.seeds(arm):
        intervals = []
        for column, side in (("f1", 1), ("gold_loss", -1)):
            pair = [scores.values(arm, column, [seed], r) for r in ("soft_prompt", "swapped")]
            if pair[0] is None or pair[1] is None:
                return None
            better_N = side * (pair[0] - pair[1])[0]
            intervals.append(scores.resampling.mean(better_N).interval(confidence))
        if not any(each.low > 0 for each in intervals):
            found.append(seed)
    return found


def _known(found: Resampled | None) -> Resampled:
    assert found is not None, "every run has the rung soft_prompt"
    return found


def _interval(found: Resampled | None, confidence: float) -> Interval | None:
    return None if found is None else found.interval(confidence)


def _apart(one: Resampled | None, other: Resampled | None, confidence: float) -> Interval | None:
    return None if one is None or other is None else one.minus(other).interval(confidence)


INTERVALS = (
    "f1", "em", "gold_loss", "share", "gain", "wide", "loss_gain", "swapped_f1", "swapped_loss",
    "over_nothing", "loss_over_nothing",
)  # fmt: skip


def comparison_table(found: Sequence[Comparison]) -> pd.DataFrame:
    """One row per arm; an interval is three columns, ``f1``, ``f1_low`` and ``f1_high``."""
    rows = []
    for each in found:
        arm = each.arm
        row: dict[str, Any] = {
            "arm": arm.text, "method": arm.method, "rank": arm.rank, "alpha": arm.alpha,
            "layers": arm.layers, "adapt": arm.adapt, "variant": arm.variant,
            "seeds": ", ".join(map(str, each.seeds)),
        }  # fmt: skip
        for name in INTERVALS:
            row |= ends(name, getattr(each, name))
        row |= {
            "verdict": each.effect.verdict if each.gain is not None else None,
            "at_least": each.effect.at_least,
            "why": each.effect.why if each.gain is not None else "",
            "loss_verdict": each.loss.verdict if each.gain is not None else None,
            "gold_loss_is": direction(each.loss_gain) if each.loss_gain is not None else None,
            "latent_ignored": each.latent_ignored,
            "seeds_ignoring": None if each.ignoring is None else ", ".join(map(str, each.ignoring)),
            "below_no_context": each.below_no_context,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def ends(name: str, interval: Interval | None) -> dict[str, float]:
    """An interval as columns of a table; NaN where there is none."""
    values = (math.nan,) * 3 if interval is None else interval[:3]
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
