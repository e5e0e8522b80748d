"""Which prompts a call asks, and which adapter answers each."""

from collections.abc import Hashable, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

PROMPTS, ADAPTERS, ORDER = range(3)
"""What is drawn in a round: each has a generator of its own."""


def generator(seed: int, round: int, what: int) -> np.random.Generator:
    """The generator of one of the draws above."""
    return np.random.default_rng([seed, round, what])


class Workload(NamedTuple):
    """The same requests for every arm: they depend on seed, round and size of the call alone."""

    mix: str
    groups: Sequence[Hashable]
    """The task of each prompt."""

    seed: int

    def prompts(self, round: int, size: int) -> list[int]:
        """Numbers of the prompts of a call, evenly of all tasks; a larger call begins alike.

        >>> Workload("uniform", ["sst2", "rte", "sst2", "rte"], 0).prompts(round=0, size=6)
        [3, 2, 1, 0, 3, 2]
        """
        draw = generator(self.seed, round, PROMPTS)
        order = draw.permutation(len(self.groups))
        of_task: dict[Hashable, list[int]] = {}
        for prompt in order:  # tasks come in a random order too
            of_task.setdefault(self.groups[prompt], []).append(int(prompt))
        longest = max(map(len, of_task.values()))
        mixed = [own[i] for i in range(longest) for own in of_task.values() if i < len(own)]
        return list(islice(cycle(mixed), size))

    def assign(self, adapters: Sequence[str], round: int, size: int) -> list[str]:
        """The adapter that answers each request of a call.

        ``round_robin`` takes them in turn and begins each round with the next one, ``uniform``
        draws them alike, ``zipf`` draws the n-th with a weight of 1/n, ``one_hot`` takes the first.

        >>> Workload("round_robin", ["sst2"], 0).assign(["a", "b", "c"], round=1, size=4)
        ['b', 'c', 'a', 'b']
        """
        count = len(adapters)
        draw = generator(self.seed, round, ADAPTERS)
        weights = 1 / np.arange(1, count + 1)
        match self.mix:
            case "round_robin":
                chosen = (round + np.arange(size)) % count
            case "uniform":
                chosen = draw.integers(count, size=size)
            case "zipf":
                chosen = draw.choice(count, size=size, p=weights / weights.sum())
            case _:
                chosen = np.zeros(size, dtype=int)
        return [adapters[int(i)] for i in chosen]


def shuffled(calls: Sequence[tuple[str, float]], seed: int, round: int) -> list[tuple[str, float]]:
    """The arms and loads of a round, in the random order in which they are measured."""
    order = generator(seed, round, ORDER).permutation(len(calls))
    return [calls[i] for i in order]
