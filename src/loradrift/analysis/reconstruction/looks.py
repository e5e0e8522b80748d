"""How rungs and arms look: the same in every figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loradrift.analysis.reconstruction.arms import Arm

RUNG_COLORS = {
    "full_text": "#009E73", "embedding_replay": "#009E73", "truncated_tokens": "#B8860B",
    "truncated_bytes": "#CC79A7", "mean_pooling": "#56B4E9", "pca_inverse": "#0072B2",
    "soft_prompt": "#D55E00", "swapped": "#E69F00", "random": "#999999", "no_context": "#444444",
}  # fmt: skip

BASELINE, BEST, OTHERS = "#000000", "#D55E00", "#B5B5B5"
"""Of the baseline, of the arm with the highest F1, and of all others."""

DEPTHS = ("#56B4E9", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#B8860B")
"""Of arms by how many blocks are adapted."""

ALPHAS = "ovsD^P"
"""Markers of arms by alpha."""

LINE_COLOR = "#555555"
"""Of lines that are no data."""

LABELS = {"f1": "F1 (points)", "gold_loss": "gold loss (nats per token)"}


def arm_color(arm: Arm, baseline: Arm, best: Arm) -> str:
    """An arm's colour where the baseline and the best arm stand out."""
    return BASELINE if arm == baseline else BEST if arm == best else OTHERS


def rank_looks(arms: Sequence[Arm]) -> dict[Arm, dict[str, Any]]:
    """Colour by depth and marker by alpha; an arm without a rank is a black star."""
    depths = list(dict.fromkeys(arm.blocks for arm in sorted(arms, key=_depth) if arm.rank))
    alphas = sorted({arm.alpha for arm in arms if arm.alpha is not None})
    looks = {}
    for arm in arms:
        if arm.rank is None or arm.alpha is None:
            looks[arm] = {"color": BASELINE, "marker": "*", "ms": 9}
        else:
            place = depths.index(arm.blocks) % len(DEPTHS)
            marker = ALPHAS[alphas.index(arm.alpha) % len(ALPHAS)]
            looks[arm] = {"color": DEPTHS[place], "marker": marker, "ms": 5}
    return looks


def _depth(arm: Arm) -> float:
    return float("inf") if arm.layers in (None, "all") else float(str(arm.layers))


def point(
    axes: Any, x: float, y: float, ends: tuple[float, float], *, sideways: bool = False, **look: Any
) -> None:
    """An estimate with its interval, upright or sideways; without one where it has no ends."""
    low, high = ends
    error = None
    if np.isfinite(ends).all():
        value = x if sideways else y
        error = np.maximum([[value - low], [high - value]], 0)
    bars = {"xerr" if sideways else "yerr": error}
    axes.errorbar(x, y, **bars, ls="", capsize=2.5, lw=1.2, **look)


def label_lines(axes: Any, heights: Mapping[str, float], colors: Mapping[str, str]) -> None:
    """Name horizontal lines at the right end, pushed apart so that no two overlap."""
    low, high = axes.get_ylim()
    gap = 0.065 * (high - low)
    order = sorted((y, name) for name, y in heights.items())
    places: list[float] = []
    for y, _ in order:
        places.append(max(y, places[-1] + gap) if places else y)
    # what was pushed beyond the upper end comes back, and pushes those below it
    most = high
    for k in range(len(places) - 1, -1, -1):
        places[k] = min(places[k], most)
        most = places[k] - gap
    for (_, name), place in zip(order, places, strict=True):
        axes.annotate(
            name, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=7,
            color=colors[name], annotation_clip=False,
        )  # fmt: skip
