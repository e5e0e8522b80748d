"""Forgetting on neutral text and drift after each step, against the very first model."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from loradrift.analysis.sequence.comparison import compare_costs
from loradrift.analysis.sequence.matrices import cell_drifts, drift_row
from loradrift.analysis.sequence.reading import Chain, Order, StepRun
from loradrift.analysis.tables import interval_row

COSTS = {"neutral": "forgetting on neutral text", "drift": "drift from the first model"}
"""Of a whole chain, by the name of its column."""

Costs = Mapping[str, Mapping[int, Mapping[int, float]]]
"""Arm -> step -> seed -> value."""


def neutral_costs(chains: Sequence[Chain], problems: list[str]) -> Costs:
    """The rise of the loss on neutral text since the first model, in nats per token.

    A line of ``problems`` for each step whose text is not that of its chain's first step.
    """
    found: dict[str, dict[int, dict[int, float]]] = {}
    for chain in chains:
        first = chain.runs[0].record
        before, text = first.metrics.get("forgetting/loss_before"), _text_of(chain.runs[0])
        for number, step in enumerate(chain.runs, start=1):
            after = step.record.metrics.get("forgetting/loss_after")
            own = found.setdefault(chain.arm, {}).setdefault(number, {})
            if before is None or after is None:
                continue
            if _text_of(step) != text:
                problems.append(
                    f"{step.place}: another neutral text than in step 1, so the rise of its loss "
                    "is left out"
                )
            else:
                own[chain.seed] = after - before
    return found


def _text_of(step: StepRun) -> str | None:
    """Fingerprint of the neutral text that a step was measured on."""
    return step.record.fingerprints.get("neutral_text")


def drift_costs(layers: pd.DataFrame) -> Costs:
    """The drift from the first model: geometric mean over the probes of the tasks up to a step."""
    found: dict[str, dict[int, dict[int, float]]] = {}
    for row in step_drifts(layers).to_dict("records"):
        found.setdefault(row["arm"], {}).setdefault(row["step"], {})[row["seed"]] = row["drift"]
    return found


def step_drifts(layers: pd.DataFrame) -> pd.DataFrame:
    """``drift`` and ``floor`` of each ``arm``, ``seed`` and ``step``.

    Drift is the geometric mean over probes, 0 where one has no drift.
    """
    cells = cell_drifts(layers)
    # the logarithm of what is not positive is NaN, and so is a mean that it is part of
    cells["drift"] = np.log(cells["drift"].where(cells["drift"] > 0))
    groups = cells.groupby(["arm", "seed", "step"], sort=False)
    table = groups[["floor"]].mean()
    means = groups["drift"].agg(lambda own: np.exp(own.mean(skipna=False)))
    return table.assign(drift=means.fillna(0.0)).reset_index()


def along_table(
    order: Order,
    arms: Sequence[str],
    costs: Mapping[str, Costs],
    layers: pd.DataFrame,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """A row for each arm and step: both costs over seeds, and each against that of the first arm.

    ``ratio`` is of drifts, ``nats`` the difference of forgetting; ``_low`` and ``_high`` are the
    ends of 95 % t intervals over seeds, of the seeds that both have where arms are compared.
    """
    drifts, baseline, rows = step_drifts(layers), arms[0], []
    for arm in arms:
        for step, after in enumerate(order, start=1):
            own = drifts[(drifts["arm"] == arm) & (drifts["step"] == step)]
            neutral = costs["neutral"].get(arm, {}).get(step, {})
            row = {"arm": arm, "step": step, "after": after}
            row |= interval_row("neutral", [*neutral.values()]) | drift_row(own)
            if arm != baseline:
                row |= _against(arm, baseline, step, costs, rng)
            rows.append(row)
    names = ["ratio", "ratio_low", "ratio_high", "nats", "nats_low", "nats_high"]
    table = pd.DataFrame(rows)
    return table.assign(**{name: np.nan for name in names if name not in table})


def _against(
    arm: str, baseline: str, step: int, costs: Mapping[str, Costs], rng: np.random.Generator
) -> dict[str, float]:
    def compared(name: str) -> dict[str, float]:
        sides = [costs[name].get(each, {}).get(step, {}) for each in (arm, baseline)]
        return compare_costs(name, sides[0], sides[1], rng)

    drift, neutral = compared("drift"), compared("neutral")
    ends = ("", "_low", "_high")
    return {f"ratio{end}": drift.get(f"ratio{end}", np.nan) for end in ends} | {
        f"nats{end}": neutral[f"difference{end}"] for end in ends
    }
