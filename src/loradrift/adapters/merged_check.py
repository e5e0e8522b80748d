"""Whether a base weight holds the adapter's change already, by the weight and the change alone."""

# Shape suffixes: O outputs, I inputs.

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from loradrift.adapters.adapter_files import Factors
from loradrift.adapters.check_result import Finding, fails, holds, some, unjudged
from loradrift.adapters.lora_layers import Claim
from loradrift.weights import inner, norm

NUM_PROJECTED = 64
"""Base weights that are looked at, evenly over the layers."""

SHARP = 0.1
"""Noise up to which one share tells a weight that holds its change from one that does not."""

NEAR = 0.25
"""How far a share may be from the whole number that it is taken for."""

FEW = 0.1
"""Part of the weights that have to hold their change, and two at least: one may be chance."""


LOST = unjudged(
    "no stored base to compare with, and too small a change to be seen in the base weights"
)


class Share(NamedTuple):
    """How many times a base weight holds its change: 0 if all is well, 1 if it was merged.

    It is -1 where a change was taken out that was not in it.
    """

    module: str
    times: float
    """``<W, dW> / <dW, dW>``."""

    noise: float
    """Its standard deviation, were the entries of the weight independent of the change."""


def check_merged(claim: Claim, lost: Finding = LOST) -> Finding:
    """``merged_once`` without the unmerged base: each weight is projected on its change.

    It tells a change that was merged once or several times, into all layers or some, plainly or by
    DoRA. A change that is small against the weight's entries is lost among them: ``lost`` then says
    what else is known of the base.
    """
    factors = dict(sorted(claim.factors()))
    step = max(1, len(factors) // NUM_PROJECTED)
    shares = []
    for name in [*factors][::step]:
        weight_OI = claim.lora_layers.weight(name)
        if weight_OI.shape == factors[name].low_rank.shape and norm(factors[name].low_rank):
            shares.append(Share(name, *_project(weight_OI, factors[name])))
    return _judge(shares, lost) if shares else lost


def _project(weight_OI: Tensor, factors: Factors) -> tuple[float, float]:
    change = factors.low_rank
    size, weight = norm(change), norm(weight_OI)
    noise = weight / weight_OI.numel() ** 0.5 / size
    if factors.magnitude_O is None:
        return inner(weight_OI, change) / size**2, noise
    # merged by DoRA, a row has the norm and the sign of its magnitude, whatever it had before
    gaps_O = (weight_OI.norm(dim=1) / factors.magnitude_O.abs() - 1).abs()
    if gaps_O.quantile(0.9) > 1e-2:
        return 0.0, min(noise, SHARP)
    signed_OI = weight_OI * factors.magnitude_O.sign()[:, None]
    times = inner(signed_OI, change) / size**2 * (1 + (size / weight) ** 2) ** 0.5
    return float(times > 0.5) or times, noise


def _judge(shares: Sequence[Share], lost: Finding) -> Finding:
    weights = [max(share.noise, 1e-6) ** -2 for share in shares]
    mean = sum(w * x.times for w, x in zip(weights, shares, strict=True)) / sum(weights)
    noise = sum(weights) ** -0.5
    sharp = [share for share in shares if share.noise <= SHARP]
    held = [share.module for share in sharp if share.times > 0.5]
    # a converted PiSSA adapter, too, takes away what the weight has: no failure, but no pass
    odd = [x for x in sharp if not NEAR - 1 < x.times < min(0.5, NEAR + 4 * x.noise)]
    least, most = min(x.times for x in shares), max(x.times for x in shares)
    figures = {"least": least, "most": most, "mean": mean, "noise": noise}
    whole = all(abs(x.times - max(0, round(x.times))) < NEAR for x in sharp)
    if whole and len(held) >= max(2, FEW * len(sharp)):
        times = max(x.times for x in sharp)
        what = f"{len(held)} of {len(sharp)} base weights, {some(held)}, hold their change already"
        why = "the adapter was merged and is applied again"
        return fails(f"{what}, up to {times:.2f} times: {why}", **figures)
    if noise > SHARP:
        return lost._replace(figures=figures)
    if round(mean) >= 1 and abs(mean - round(mean)) < NEAR and not sharp:
        what = f"the base weights hold their change already, {mean:.2f} times on the whole"
        return fails(f"{what}: the adapter was merged and is applied again", **figures)
    if odd or not NEAR - 1 < mean <= NEAR:
        return unjudged(
            f"the base weights have {least:.2f} to {most:.2f} times their change in them, which "
            "may be their own, and no digest of the base was recorded",
            **figures,
        )
    span = f"{mean:.2f} times, {least:.2f} to {most:.2f} each"
    return holds(f"the base weights hold their change {span}: it is not merged", **figures)
