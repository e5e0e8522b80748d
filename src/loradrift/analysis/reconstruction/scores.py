"""F1, exact match and the gold answer's loss of every rung, by seed and row."""

# Shape suffixes: S seeds, N rows.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.reading import SOFT_PROMPT, ReconstructionRun
from loradrift.config import UserError
from loradrift.statistics.clustered import Resampled, Resampling
from loradrift.statistics.values import Array

BASE_RUNGS = (
    "full_text", "embedding_replay", "truncated_tokens", "truncated_bytes", "mean_pooling",
    "pca_inverse", "no_context",
)  # fmt: skip
"""Rungs of the base model, which no training changes."""

OWN_RUNGS = (SOFT_PROMPT, "swapped", "random")
"""Rungs of a run."""

RUNGS = {
    "full_text": "full text", "embedding_replay": "embedding replay",
    "truncated_tokens": "first M tokens", "truncated_bytes": "first tokens of equal bytes",
    "mean_pooling": "chunk means", "pca_inverse": "PCA and back", SOFT_PROMPT: "soft prompt",
    "swapped": "swapped latents", "random": "random latents", "no_context": "no context",
}  # fmt: skip
"""Rung -> how it is written, in the order of reports."""

SAME = 1e-3
"""Nats by which the mean gold loss of a base rung may differ between runs: another order of
batches, or another machine, rounds otherwise."""


@dataclass(frozen=True)
class Scores:
    """Runs of one setting on the same rows."""

    by_arm: Mapping[Arm, Mapping[int, ReconstructionRun]]
    """The runs by arm and seed."""

    ids: list[str]
    resampling: Resampling = field(repr=False)

    @property
    def first(self) -> ReconstructionRun:
        """A run that stands for what all have in common."""
        return next(iter(next(iter(self.by_arm.values())).values()))

    def seeds(self, *arms: Arm) -> list[int]:
        """The seeds that all of these arms have."""
        return sorted(set.intersection(*({*self.by_arm[arm]} for arm in arms)))

    def values(
        self, arm: Arm, column: str, seeds: Sequence[int], rung: str = SOFT_PROMPT
    ) -> Array | None:
        """A column of a rung (S, N); None where a run lacks the rung."""
        runs = [self.by_arm[arm][seed] for seed in seeds]
        if any(rung not in run.rungs for run in runs):
            return None
        rows = [run.rungs[rung].loc[self.ids, column].to_numpy(float) for run in runs]
        return np.stack(rows)

    def of_arm(
        self,
        arm: Arm,
        column: str,
        rung: str = SOFT_PROMPT,
        seeds: Sequence[int] | None = None,
    ) -> Resampled | None:
        """The mean over seeds and rows; None where a run lacks the rung."""
        values_SN = self.values(arm, column, seeds or self.seeds(arm), rung)
        return None if values_SN is None else self.resampling.mean(values_SN)

    def of_base(self, rung: str, column: str) -> Resampled | None:
        """The mean over rows of a rung of the base model; None where no run has it."""
        holders = [run for own in self.by_arm.values() for run in own.values() if rung in run.rungs]
        if not holders:
            return None
        return self.resampling.mean(holders[0].rungs[rung].loc[self.ids, column].to_numpy(float))

    def difference(self, arm: Arm, other: Arm, column: str) -> Resampled | None:
        """One arm less another, of the seeds that both have; None if there is none."""
        seeds = self.seeds(arm, other)
        if not seeds:
            return None
        one, two = (self.of_arm(each, column, seeds=seeds) for each in (arm, other))
        return one.minus(two) if one and two else None


def gather(
    runs: Sequence[ReconstructionRun], arms: Mapping[ReconstructionRun, Arm], seed: int
) -> tuple[Scores, list[str]]:
    """The scores of runs that have results, and a line for each that does not fit the others.

    Raises:
        UserError: If no run is left.
    """
    found: dict[Arm, dict[int, ReconstructionRun]] = {}
    problems = []
    ids: list[str] | None = None
    contexts: list[str] = []
    for run in sorted(runs, key=lambda run: (arms[run].order, run.seed, run.place)):
        if run.collapsed:
            continue
        own = run.rungs[SOFT_PROMPT]
        if ids is None:
            ids, contexts = sorted(own.index), list(own.sort_index()["context"])
        if sorted(own.index) != ids:
            problems.append(f"{run.place}: its ladder is of other rows: it is left out")
        elif run.seed in found.setdefault(arms[run], {}):
            twice = found[arms[run]][run.seed].place
            problems.append(f"{run.place}: the same arm and seed as {twice}: it is left out")
        else:
            found[arms[run]][run.seed] = run
    if ids is None:
        raise UserError("no run has results")
    ordered = {arm: found[arm] for arm in sorted(found, key=lambda arm: arm.order) if found[arm]}
    return Scores(ordered, ids, Resampling(contexts, seed)), problems


def base_problems(scores: Scores) -> list[str]:
    """Where runs disagree on what the base model says, and where a replay is not the full text."""
    problems = []
    runs = [run for own in scores.by_arm.values() for run in own.values()]
    for rung in BASE_RUNGS:
        means = [float(run.rungs[rung]["gold_loss"].mean()) for run in runs if rung in run.rungs]
        if means and max(means) - min(means) > SAME:
            problems.append(
                f"runs disagree on {RUNGS[rung]}, which no training changes: its gold loss is "
                f"between {min(means):.4f} and {max(means):.4f} nats"
            )
    first = scores.first.rungs
    if {"full_text", "embedding_replay"} <= first.keys():
        pair = [first[rung].loc[scores.ids] for rung in ("full_text", "embedding_replay")]
        apart = abs(pair[0]["gold_loss"].mean() - pair[1]["gold_loss"].mean())
        others = int((pair[0]["answer"] != pair[1]["answer"]).sum())
        if apart > SAME or others > 0.01 * len(scores.ids):
            problems.append(
                f"the replay of the context's embeddings is not the full text: {others} answers "
                f"differ, and the gold loss by {apart:.4f} nats: soft prompts are read otherwise "
                "than text"
            )
    return problems
