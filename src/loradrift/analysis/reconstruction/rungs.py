"""The ladder: what stands in the context's place, from the full text down to nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.comparison import ends
from loradrift.analysis.reconstruction.reading import SOFT_PROMPT, ReconstructionRun
from loradrift.analysis.reconstruction.scores import BASE_RUNGS, OWN_RUNGS, RUNGS, Scores, gather
from loradrift.analysis.reconstruction.settings import Setting
from loradrift.statistics.clustered import Resampled

AGAINST = "no_context"
"""The rung that all others are compared with."""

COLUMNS = ("f1", "em", "gold_loss")


def ladder_table(scores: Scores) -> pd.DataFrame:
    """A row for each rung of the base model, and for each arm's own rungs.

    Differences are to no context, paired by row; ``share`` is of the full text's F1.
    """
    rows = [_row(scores, rung, None) for rung in BASE_RUNGS]
    rows += [_row(scores, rung, arm) for arm in scores.by_arm for rung in OWN_RUNGS]
    table = pd.DataFrame([row for row in rows if row])
    table["order"] = table["rung"].map([*RUNGS].index)
    return table.sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)


def _row(scores: Scores, rung: str, arm: Arm | None) -> dict[str, Any]:
    def mean(column: str, named: str = rung) -> Resampled | None:
        if arm is None or named in BASE_RUNGS:
            return scores.of_base(named, column)
        return scores.of_arm(arm, column, named)

    found = {column: mean(column) for column in COLUMNS}
    if any(each is None for each in found.values()):
        return {}
    row: dict[str, Any] = {"rung": rung, "arm": "" if arm is None else arm.text}
    row |= {column: _value(mean(column)) for column in ("bytes", "positions")}
    for column, own in found.items():
        assert own is not None
        row |= ends(column, own.interval())
        nothing = mean(column, AGAINST)
        if column != "em":
            over = own.minus(nothing).interval() if nothing and rung != AGAINST else None
            row |= ends(f"{column}_over_nothing", over)
    full, own = mean("f1", "full_text"), found["f1"]
    share = own.over(full).interval() if own and full and full.value else None
    return row | ends("share", share)


def _value(found: Resampled | None) -> float:
    return float("nan") if found is None else found.value


RATE_RUNGS = (SOFT_PROMPT, "truncated_bytes", "truncated_tokens", "mean_pooling", "pca_inverse")


def rate_table(
    by_setting: Mapping[Setting, Sequence[ReconstructionRun]],
    arms: Mapping[ReconstructionRun, Arm],
    seed: int,
) -> tuple[pd.DataFrame, list[str]]:
    """F1 and gold loss by the bytes that stand for a context, of settings that differ in sizes.

    A row for each setting and arm, and for each rung of the base model in it; ``text_bytes`` and
    ``text_tokens`` are the full text's means.
    """
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for setting, runs in by_setting.items():
        scores, lines = gather(runs, arms, seed)
        problems += lines
        keys = dict(setting)
        sizes = {name: keys.get(f"task.{name}") for name in ("num_latents", "d_z", "latent_bits")}
        text = {
            f"text_{name}": _value(scores.of_base("full_text", column))
            for name, column in (("bytes", "bytes"), ("tokens", "positions"))
        }
        for rung in RATE_RUNGS:
            holders: list[Arm | None] = [*scores.by_arm] if rung == SOFT_PROMPT else [None]
            rows += [sizes | text | row for arm in holders if (row := _row(scores, rung, arm))]
    table = pd.DataFrame(rows)
    table["num_latents"] = table["num_latents"].astype(int)
    table["compression"] = table["text_bytes"] / table["bytes"]
    table["bits_per_token"] = 8 * table["bytes"] / table["text_tokens"]
    return table.sort_values(["rung", "arm", "bytes"], ignore_index=True), problems
