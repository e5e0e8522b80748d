"""Paired rounds: every arm answers the same prompts, in a random order of arms and loads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from loradrift.caching import recall
from loradrift.config import UserError
from loradrift.generation.base import Completion, Engine
from loradrift.progress import Tenths
from loradrift.serving.answers import Gaps, References, complaint, judge
from loradrift.serving.arms import Arm
from loradrift.serving.plan import Plan, Prompt, make_requests
from loradrift.serving.samples import Sample, read_rows, write_rows
from loradrift.serving.tolerance import TOLERANCES
from loradrift.serving.workload import shuffled

COLD_SAMPLES = "cold_samples.parquet"
"""The answers of first requests, in a cell's folder."""


class WrongAnswerError(UserError):
    """A model has answered that was not asked."""


@dataclass(frozen=True)
class Offline:
    """The arms' engines, all of them open, and what their answers are held against."""

    plan: Plan
    prompts: Sequence[Prompt]
    engines: Mapping[str, Engine]
    """By arm. Those of merged models are ``merged_<adapter>``."""

    references: References
    gaps: Gaps

    def call(self, arm: Arm, size: int, round: int) -> list[Sample]:
        """Have an arm answer a batch; the answers are unchecked."""
        work = self.plan.workload(self.prompts)
        numbers = work.prompts(round, size)
        asked = work.assign(arm.adapters, round, size) if arm.adapters else [None] * size
        answered: dict[int, tuple[Completion, float]] = {}
        began = perf_counter()
        for engine, places in self._shares(arm, asked):
            adapters = [asked[i] if arm.lora else None for i in places]
            requests = make_requests(self.prompts, [numbers[i] for i in places], adapters)
            waited = perf_counter() - began  # its share waits for the engines before
            completions = engine.generate(requests, self.plan.sampling)
            for i, completion in zip(places, completions, strict=True):
                answered[i] = completion, waited
        call_s = perf_counter() - began
        return [
            self._sample(arm, Asked(size, round, i, numbers[i], asked[i]), answered[i], call_s)
            for i in range(size)
        ]

    def measure(self, round: int, progress: Tenths | None = None, done: int = 0) -> list[Sample]:
        """All arms at all batch sizes, judged; ``done`` calls were reached before."""
        arms = {arm.name: arm for arm in self.plan.arms}
        calls = [(name, float(size)) for name in arms for size in self.plan.batch_sizes]
        samples: list[Sample] = []
        for name, size in shuffled(calls, self.plan.seed, round):
            samples += self.call(arms[name], int(size), round)
            done += 1
            if progress is not None:
                progress.reach(done)
        return judge(samples, self.references, self.gaps, TOLERANCES[self.plan.dtype])

    def _shares(self, arm: Arm, asked: Sequence[str | None]) -> list[tuple[Engine, Sequence[int]]]:
        """The engines of an arm, and the places of the requests that each answers."""
        if arm.kind != "engines":
            return [(self.engines[arm.name], range(len(asked)))]
        own = {name: [i for i, each in enumerate(asked) if each == name] for name in arm.adapters}
        return [(self.engines[f"merged_{name}"], own[name]) for name in own if own[name]]

    def _sample(
        self, arm: Arm, wanted: "Asked", answered: tuple[Completion, float], call_s: float
    ) -> Sample:
        """One row; all requests are there from the beginning of the call."""
        completion, waited = answered
        if len(completion.token_ids) != self.plan.max_tokens:
            raise UserError(
                f"{arm.name} answered request {wanted.request} of a batch of {wanted.size} with "
                f"{len(completion.token_ids)} tokens instead of {self.plan.max_tokens}"
            )
        times = [waited + each for each in completion.token_times_s]
        return Sample(
            phase="offline",
            arm=arm.name,
            load=float(wanted.size),
            round=wanted.round,
            request=wanted.request,
            prompt=wanted.prompt,
            asked=wanted.adapter,
            served=completion.served if arm.lora else wanted.adapter,
            submitted_s=0.0,
            ttft_s=times[0],
            latency_s=times[-1],
            tokens=len(times),
            token_times_s=times,
            token_ids=list(completion.token_ids),
            call_s=call_s,
        )


class Asked(NamedTuple):
    """One request of a call."""

    size: int
    round: int
    request: int
    prompt: int
    adapter: str | None


def round_path(folder: Path, round: int) -> Path:
    """The file of an offline round."""
    return folder / "rounds" / f"round={round:03d}.parquet"


def read_round(path: Path) -> list[Sample] | None:
    """A round that was measured; None if it was not, or with a warning if its file is damaged."""
    return recall(path, lambda there: read_rows(there, Sample))


def keep(path: Path, samples: Sequence[Sample], plan: Plan) -> None:
    """Write a round's samples, whatever they are worth, then refuse wrong answers.

    Raises:
        WrongAnswerError: If one is wrong; says which, and what the adapter's certificate says.
    """
    write_rows(path, Sample, samples)
    refuse_wrong(samples, plan)


def refuse_wrong(samples: Sequence[Sample], plan: Plan) -> None:
    """Raise a WrongAnswerError if an answer is wrong."""
    if line := complaint(samples, plan.certificates):
        raise WrongAnswerError(line)


def refuse_kept(folder: Path, plan: Plan) -> None:
    """Raise a WrongAnswerError if an answer that is kept is wrong, of servers and first requests.

    An intermittent fault may not be there when the same command measures again.
    """
    for path in (*sorted(folder.glob("server/**/*.parquet")), folder / COLD_SAMPLES):
        try:
            samples = read_rows(path, Sample)
        except (OSError, ValueError):  # what is not whole is measured again
            continue
        _refuse_for_good(samples, plan)


def measured(folder: Path, plan: Plan) -> dict[int, list[Sample]]:
    """The offline rounds that are there, by number.

    Raises:
        WrongAnswerError: If an answer of one is wrong.
    """
    rounds = {i: read_round(round_path(folder, i)) for i in range(plan.rounds)}
    found = {i: samples for i, samples in rounds.items() if samples is not None}
    for samples in found.values():
        _refuse_for_good(samples, plan)
    return found


def _refuse_for_good(samples: Sequence[Sample], plan: Plan) -> None:
    if line := complaint(samples, plan.certificates):
        raise WrongAnswerError(f"{line}; force=true measures anew")
