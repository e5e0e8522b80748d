"""What an endpoint's replies took."""

import threading
from collections import Counter
from collections.abc import Mapping

from loradrift.judges.base import Status
from loradrift.judges.replies import Reading

COUNTED = ("asked", "recalled", "prompt_tokens", "reply_tokens", "expected", "written")
"""Replies asked for and those recalled from the cache, tokens of the former; and of both, scores
that are expectations and those as written."""


class Costs:
    """Counts replies and tokens; several threads may.

    Args:
        input_price: Of a million tokens of prompts; None where prices are unknown.
        output_price: Of a million tokens of replies.
    """

    def __init__(self, input_price: float | None, output_price: float | None) -> None:
        self._prices = input_price, output_price
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def paid(self, usage: tuple[int, int]) -> None:
        """Count a reply that was asked for."""
        with self._lock:
            self._counts.update(asked=1, prompt_tokens=usage[0], reply_tokens=usage[1])

    def recalled(self) -> None:
        """Count a reply that was there."""
        with self._lock:
            self._counts.update(recalled=1)

    def read(self, reading: Reading) -> None:
        """Count how a score was read."""
        if reading.status is Status.SCORED:
            with self._lock:
                self._counts.update(["expected" if reading.expected else "written"])

    def counts(self) -> dict[str, float]:
        """All counts; ``price`` is there where prices are known."""
        with self._lock:
            counts = {name: self._counts[name] for name in COUNTED}
        if self._prices[0] is None or self._prices[1] is None:
            return dict(counts)
        tokens = counts["prompt_tokens"], counts["reply_tokens"]
        price = self._prices[0] * tokens[0] + self._prices[1] * tokens[1]
        return counts | {"price": price / 1e6}


def cost_line(costs: Mapping[str, float]) -> str:
    """What was asked for, as a sentence.

    >>> counts = {"asked": 2, "recalled": 1, "prompt_tokens": 300, "reply_tokens": 4}
    >>> cost_line(counts | {"expected": 3, "written": 0, "price": 0.01})
    '2 replies were asked for (300 tokens of prompts, 4 of replies, price 0.0100), 1 recalled'
    """
    price = f", price {costs['price']:.4f}" if "price" in costs else ""
    return (
        f"{costs['asked']:.0f} replies were asked for ({costs['prompt_tokens']:.0f} tokens of "
        f"prompts, {costs['reply_tokens']:.0f} of replies{price}), {costs['recalled']:.0f} recalled"
    )
