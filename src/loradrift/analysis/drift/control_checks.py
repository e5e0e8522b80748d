"""Whether a pair's controls let its drift be believed: judged before anything is averaged.

1 - CKA grows with the square of an angle. What is off at random adds its own 1 - CKA to a drift;
what is off in the drift's direction adds its angle.
"""

import numpy as np
import pandas as pd
from scipy import stats

from loradrift.activations.pooling import SAMPLE
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.pairing import Pair
from loradrift.config import UserError
from loradrift.config.keys import flatten

FLOOR = 0.1
"""The floor must stay below this share of the drift: being random, it can add as much to it."""

RERUN = 0.001
"""The most that the two base models may differ, as a share of the smaller drift: an angle of 3 % of
the drift's, which can change the drift by 6 %, a third of what counts as equal."""

BF16 = 4 * 2.0**-16
"""What two kernels' rounding in bfloat16 adds to the rerun in each layer, at most: u^2 with
u = 2^-8, of which a forward pass showed 0.6 to 1.7 a layer (2 to 24 layers), with room for two."""

CHANCE = 1e-4
"""How often the shuffled control of a right instrument is refused, at most."""


def check_controls(pair: Pair, controls: pd.DataFrame, drifts: dict[str, float]) -> None:
    """Refuse a pair whose instrument shows what its runs cannot have done.

    Args:
        pair: The runs.
        controls: Theirs (:func:`~loradrift.analysis.drift.layers.controls`), a row per layer.
        drifts: Name of each arm -> mean drift over layers where the run is compared.

    Raises:
        UserError: If the base models of both runs differ, if the floor reaches a tenth of a drift,
            or if the shuffled control is not about 1; gives the figures.
    """
    arm = min(drifts, key=drifts.__getitem__)
    least = drifts[arm]
    rounding = BF16 * (controls["layer"] + 1) if any(map(_is_bf16, pair)) else 0.0
    limits = np.maximum(RERUN * least, rounding) + 0 * controls["layer"]
    if not (controls["rerun"] <= limits).all():
        layer = (controls["rerun"] - limits).fillna(np.inf).argmax()
        raise UserError(
            "its runs did not start from the same model: the rerun control (step 0 of one against "
            f"step 0 of the other) is {controls['rerun'].iloc[layer]:.2g} in layer {layer} and "
            f"must be about 0, at most {limits.iloc[layer]:.1g} where the drift of {arm} is "
            f"{least:.2g}; train both again from one base model"
        )
    floor = controls["floor"].mean()
    if not floor < FLOOR * least:
        raise UserError(
            f"the drift of {arm} ({least:.2g}) is not above its floor ({floor:.2g}, the base model "
            f"against itself): the floor must stay below a tenth of it; train for longer, or with "
            "more rows in the probe (callbacks.activation_dump.rows)"
        )
    tolerance = shuffled_tolerance(min(SAMPLE, pair.treatment.store.num_rows(0)), len(controls))
    shuffled = controls["shuffled"].median()
    if not abs(shuffled - 1) <= tolerance:
        raise UserError(
            f"the shuffled control (its rows in a wrong order) is {shuffled:.3g} and must be 1 "
            f"within {tolerance:.2g}: the measure finds a likeness where there is none; see "
            "whether the probe's rows are all different"
        )


def shuffled_tolerance(num_rows: int, num_layers: int) -> float:
    """How far from 1 the shuffled control is by chance, with a probe of so many rows.

    Of N rows in an order drawn at random, debiased CKA is a mean over directions of (z^2 - 1) / N
    with z normal. It spreads most where there is one direction only. Layers have their own orders.

    Example:
        >>> round(shuffled_tolerance(256, 22), 3), round(shuffled_tolerance(16, 2), 2)
        (0.006, 0.51)
    """
    upper = float(stats.chi2.isf(CHANCE, num_layers)) / num_layers
    return (upper - 1) / num_rows


def _is_bf16(run: Run) -> bool:
    return flatten(run.record.config).get("trainer.precision") == "bf16-mixed"
