"""Which models' answers can be told from each other's: a cell's ``apart.json``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from loradrift.analysis.serving.plans import BASE


class Apart(NamedTuple):
    """What the benchmark found when it held each model's right answers against the others."""

    shares: Sequence[tuple[str, str, float]]
    """Asked, another, and the share of prompts on which the other's answer passes for right, by the
    tolerance; pairs with a share of 0 are left out."""

    least: Mapping[str, Sequence[int | None]]
    """Model -> of each prompt, the tokens from which on an answer is told from that of every other
    model; None where it never is."""

    def count(self, checked: pd.DataFrame) -> int:
        """How many of these answers can be told from every other model's."""
        least = {
            (model, prompt): tokens
            for model, own in self.least.items()
            for prompt, tokens in enumerate(own)
            if tokens is not None
        }
        columns = checked["asked"].fillna(BASE), checked["prompt"], checked["tokens"]
        rows = zip(*columns, strict=True)
        return sum(tokens >= least.get((model, prompt), math.inf) for model, prompt, tokens in rows)


def as_apart(saved: Mapping[str, Any]) -> Apart:
    """The object of the file.

    Raises:
        ValueError: If it is another one.
    """
    try:
        shares = [(str(asked), str(other), float(share)) for asked, other, share in saved["shares"]]
        return Apart(shares, {str(model): list(own) for model, own in saved["least"].items()})
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"it does not say what can be told apart: {error}") from None
