"""The report's claims, each with its verdict."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.comparison import Comparison
from loradrift.analysis.reconstruction.reading import SOFT_PROMPT
from loradrift.analysis.reconstruction.scores import Scores
from loradrift.analysis.reconstruction.verdicts import (
    CLASSES,
    NONE,
    UNDECIDED,
    direction,
    judge,
    said,
)
from loradrift.report.blocks import interval_text
from loradrift.statistics import Interval

TARGET_SHARE, TARGET_COMPRESSION = 0.6, 4.0
"""Of the full text's F1, at so many times fewer bytes."""

GOOD, BAD, OPEN = "#00694D", "#B34700", "#444444"


class Finding(NamedTuple):
    """A claim with its verdict."""

    name: str
    claim: str
    verdict: str
    why: str = ""
    lines: tuple[str, ...] = ()
    color: str = OPEN


def help_finding(found: Sequence[Comparison], baseline: Arm) -> Finding:
    """Whether any arm answers better than the baseline, at a level for all arms together."""
    name = "Adaptation"
    claim = f"an adapted language model answers better from the same bytes than {baseline.named}"
    others = [each for each in found if each.gain is not None]
    if not others:
        return Finding(name, claim, "no data", "no other arm shares a seed with the baseline")
    effects = {each.arm: judge(each.wide) for each in others}
    best = max(others, key=lambda each: _estimate(each.gain))
    lines = (
        f"highest F1 gain: {best.arm.text}: {said(best.gain)}, at a level for all "
        f"{len(others)} arms together {_ends(best.wide)}",
        _lowest_loss(others),
    )
    for verdict in CLASSES:
        own = [arm for arm, effect in effects.items() if effect.verdict == verdict]
        if own:
            least = "at least " * any(effects[arm].at_least for arm in own)
            return Finding(
                name, claim, f"{least}{verdict}", some([arm.text for arm in own]), lines, GOOD
            )
    # that no arm gains needs no correction: each of them has to show it
    if all(each.effect.verdict == NONE for each in others):
        return Finding(name, claim, NONE, "no arm gains 2 points", lines, BAD)
    why = effects[best.arm].why or "for other arms than the best"
    return Finding(name, claim, UNDECIDED, f"{best.arm.text}: {why}", lines)


def _lowest_loss(others: Sequence[Comparison]) -> str:
    best = min(others, key=lambda each: _estimate(each.loss_gain, math.inf))
    gain = said(best.loss_gain, "nats")
    return f"lowest gold loss: {best.arm.text}: {gain}, {direction(best.loss_gain)}"


def read_finding(found: Sequence[Comparison]) -> Finding:
    """Whether answers depend on the latents."""
    name, claim = "Latents", "answers get worse with another row's latents"
    known = [each for each in found if each.latent_ignored is not None]
    if not known:
        return Finding(name, claim, "no data", "latents were not swapped")
    runs = sum(len(each.seeds) for each in known)
    ignoring = [f"{each.arm.text}, seed {seed}" for each in known for seed in each.ignoring or ()]
    least = min(known, key=lambda each: _estimate(each.swapped_loss, math.inf))
    lines: tuple[str, ...] = (
        f"least affected: {least.arm.text}: gold loss {said(least.swapped_loss, 'nats')}, F1 "
        f"{said(least.swapped_f1)} better with its own latents",
    )
    below = [each.arm.text for each in found if each.below_no_context]
    if below:
        lines += (f"below no context in F1 or gold loss: {some(below)}",)
    if ignoring:
        verdict = f"ignored by {len(ignoring)} of {runs} runs"
        return Finding(name, claim, verdict, some(ignoring), lines, BAD)
    return Finding(name, claim, "read by every run", "", lines, BAD if below else GOOD)


def target_finding(scores: Scores, found: Sequence[Comparison], compression: float) -> Finding:
    """Whether an arm reaches the share of the full text's F1 that is asked for."""
    name = "Target"
    claim = (
        f"{TARGET_SHARE:.0%} of the full text's F1 from {TARGET_COMPRESSION:g} times fewer bytes"
    )
    known = [each for each in found if each.share is not None]
    if not known or math.isnan(compression):
        return Finding(name, claim, "no data", "the full text's F1 or bytes are not known")
    best = max(known, key=lambda each: _estimate(each.share))
    assert best.share is not None
    lines = (
        f"{best.arm.text}: {best.share.estimate:.1%} ({_percent(best.share)}) of the full "
        f"text's F1, at {compression:.3g} times fewer bytes",
        *_on_the_scale(scores, best.arm),
    )
    if compression < TARGET_COMPRESSION:
        why = f"a latent takes {1 / compression:.3g} times the bytes of its text"
        return Finding(name, claim, "not tested", why, lines)
    if best.share.low >= TARGET_SHARE and not best.share.note:
        return Finding(name, claim, "reached", "", lines, GOOD)
    if best.share.high < TARGET_SHARE and not best.share.note:
        return Finding(name, claim, "not reached", "", lines, BAD)
    why = (
        "one seed tells nothing of others"
        if best.share.note
        else f"the interval holds {TARGET_SHARE:.0%}"
    )
    return Finding(name, claim, UNDECIDED, why, lines)


def _on_the_scale(scores: Scores, arm: Arm) -> list[str]:
    """Where an arm's gold loss lies between no context (0 %) and the full text (100 %)."""
    ends = [scores.of_base(rung, "gold_loss") for rung in ("no_context", "full_text")]
    own = scores.of_arm(arm, "gold_loss", SOFT_PROMPT)
    nothing, full = ends
    if own is None or nothing is None or full is None:
        return []
    place = nothing.minus(own).over(nothing.minus(full)).interval()
    if not math.isfinite(place.estimate):
        return []
    return [
        f"its gold loss lies {place.estimate:.1%} ({_percent(place)}) of the way from no context "
        "to full text"
    ]


def text_finding(scores: Scores) -> Finding:
    """Whether the base model reads texts at all: without that, nothing can be compressed."""
    name, claim = "Base", "the base model answers better with the full text than without a context"
    parts = []
    for column in ("f1", "gold_loss"):
        full, nothing = (scores.of_base(rung, column) for rung in ("full_text", "no_context"))
        if full is None or nothing is None:
            return Finding(name, claim, "no data", "the ladder lacks full text or no context")
        parts.append((full, nothing, full.minus(nothing).interval()))
    (full, nothing, gain), (full_loss, nothing_loss, loss) = parts
    lines = (
        f"F1 {full.value:.3g} against {nothing.value:.3g}: {said(gain)}",
        f"gold loss {full_loss.value:.3g} against {nothing_loss.value:.3g}: {said(loss, 'nats')}",
    )
    if gain.low > 0 and loss.high < 0:
        return Finding(name, claim, "supported", "", lines, GOOD)
    if gain.low > 0 or loss.high < 0:
        return Finding(name, claim, UNDECIDED, "F1 and gold loss do not both show it", lines)
    return Finding(name, claim, "not shown", "an interval holds 0 in both", lines, BAD)


def collapse_finding(table: pd.DataFrame) -> Finding:
    """Whether a run collapsed."""
    name, claim = "Collapse", "answers stay different from each other, and depend on the context"
    known = table[table["alarms"].notna()] if len(table) else table
    if known.empty:
        return Finding(name, claim, "no data", "no run has diagnostics")
    alarmed = known[known["alarms"] > 0]
    lines = [f"{len(known)} runs, {int(known['evaluations'].sum())} evaluations"]
    lines += [
        f"{row['arm']}, seed {row['seed']}: {row['causes']}, first at step {row['first_step']:g}"
        for row in alarmed.head(4).to_dict("records")
    ]
    if alarmed.empty:
        return Finding(name, claim, "no alarm", "", tuple(lines), GOOD)
    verdict = f"alarms in {len(alarmed)} of {len(known)} runs"
    return Finding(name, claim, verdict, "", tuple(lines[1:]), BAD)


def drift_finding(table: pd.DataFrame) -> Finding:
    """What adapting costs the language model."""
    name, claim = "Drift", "states of the language model on full texts stay what they were"
    if table.empty:
        return Finding(name, claim, "no data", "no run has dumps of activations")
    means = table.groupby("arm", sort=False)["cka"].mean().sort_values()
    lines = tuple(
        f"{arm}: mean CKA with the base {value:.3f}"
        for arm, value in [*means.items()][:1] + [*means.items()][1:][-1:]
    )
    return Finding(name, claim, f"CKA {means.iloc[0]:.3f} to {means.iloc[-1]:.3f}", "", lines)


def _estimate(interval: Interval | None, absent: float = -math.inf) -> float:
    known = interval is not None and not math.isnan(interval.estimate)
    return interval.estimate if known and interval is not None else absent


def _ends(interval: Interval | None) -> str:
    return "no interval" if interval is None else interval_text(interval.low, interval.high)


def _percent(interval: Interval) -> str:
    if math.isnan(interval.low):
        return "no interval"
    return f"{interval.low:.1%} to {interval.high:.1%}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - most
    return "; ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
