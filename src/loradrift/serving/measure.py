"""All that a cell measures, in the order in which it is measured; nothing is measured twice."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from loradrift.caching import recall
from loradrift.config import UserError
from loradrift.files import read_object, write_json
from loradrift.serving.answers import References
from loradrift.serving.apart import Apart, read_apart, tell_apart, write_apart
from loradrift.serving.classification import classify_runs
from loradrift.serving.cold import ColdStarts
from loradrift.serving.engines import open_arms, open_model, settle, start_times, warm_up
from loradrift.serving.export import read_servable
from loradrift.serving.memory import measure_memory, preload
from loradrift.serving.messages import Messages, Progress
from loradrift.serving.plan import Plan, Prompt, read_plan, read_prompts, write_plan
from loradrift.serving.prover import Prover
from loradrift.serving.references import make_references
from loradrift.serving.rounds import (
    COLD_SAMPLES,
    Offline,
    keep,
    measured,
    read_round,
    refuse_kept,
    round_path,
)
from loradrift.serving.samples import (
    ColdStart,
    ReferenceAnswer,
    Sample,
    answers_of,
    read_rows,
    write_rows,
)
from loradrift.serving.serve import ServerPart
from loradrift.serving.tolerance import TOLERANCES

APART = "apart.json"
"""Which models' answers can be told apart, in a cell's folder."""

CLASSIFIED_ROWS = 40
"""Rows that each run's head classifies."""


@dataclass
class Measurement:
    """A cell, as its worker sees it."""

    folder: Path
    plan: Plan
    prompts: Sequence[Prompt]
    messages: Messages
    prover: Prover
    stack: ExitStack
    """Of the engines that are open."""

    def run(self) -> None:
        """Measure what is left.

        Raises:
            WrongAnswerError: If a model answers that was not asked.
            UserError: If an engine cannot serve what the plan says.
            MemoryError: If there is too little memory.
        """
        refuse_kept(self.folder, self.plan)
        found = measured(self.folder, self.plan)
        if self.plan.memory and not (self.folder / "memory.json").exists():
            self.say("measuring the memory of each arm")
            write_json(self.folder / "memory.json", measure_memory(self.plan, self.prompts))
        preload(self.plan)
        samples = self._serve()
        if self.plan.offline:
            found |= self._offline(found)
        samples += [sample for round in sorted(found) for sample in found[round]]
        samples += read_round(self.folder / COLD_SAMPLES) or ()
        apart = recall(self.folder / APART, read_apart)
        told = None
        if apart is not None:
            told = apart.count(samples)
            self._note(apart)
        write_json(self.folder / "checks.json", answers_of(samples) | {"told_apart": told})

    def _serve(self) -> list[Sample]:
        """Measure what is left of the server's part; gives all its samples.

        It may start while the right answers are made: neither is timed then.
        """
        plan, server = self.plan, self.plan.server
        if server is None:
            self._classify()
            return []
        part = ServerPart(self.folder, plan, server, self.prompts, self.messages)
        samples = part.samples()
        if samples is None:
            self.say("starting the server")
            with part.started() as started:
                references = self.references
                self._classify()
                part.measure(started(), references, self.prover)
            samples = part.samples()
            assert samples is not None
        return samples

    def _offline(self, found: Mapping[int, Sequence[Sample]]) -> dict[int, list[Sample]]:
        """Measure the rounds that are left, then first requests."""
        plan, new, cold = self.plan, {}, self.folder / "cold.parquet"
        timed = recall(cold, lambda there: read_rows(there, ColdStart))
        first = self.folder / COLD_SAMPLES
        known = timed is not None and read_round(first) is not None
        if len(found) == plan.rounds and known:
            return {}
        references = self.references
        self.say("starting the engines")
        engines = self.stack.enter_context(open_arms(plan))
        write_json(self.folder / "events.json", self._events() | start_times(engines))
        for arm in plan.arms:
            if arm.name in engines:
                warm_up(plan, self.prompts, arm, engines[arm.name])
        settle()
        offline = Offline(plan, self.prompts, engines, references, self.prover)
        calls = len(plan.arms) * len(plan.batch_sizes)
        done = len(found) * calls
        progress = Progress(self.messages, "measurements", plan.rounds * calls, done=done)
        for round in range(plan.rounds):
            if round not in found:
                new[round] = offline.measure(round, progress, done)
                keep(round_path(self.folder, round), new[round], plan)
                done += calls
        if not known:
            starts = ColdStarts(plan, self.prompts, engines)
            keep(first, starts.measure(references, self.prover), plan)
            write_rows(cold, ColdStart, starts.rows)
        return new

    @cached_property
    def references(self) -> References:
        """The right answers, which are made once."""
        path = self.folder / "reference.parquet"
        plan, models = self.plan, len(self.plan.adapters) + 1
        rows = recall(path, lambda there: read_rows(there, ReferenceAnswer))
        apart = None if rows is None else recall(self.folder / APART, read_apart)
        if rows is None:
            self.say("making the merged models' answers")
            progress = Progress(self.messages, "models that have answered", models)
            prove = (plan, self.prompts, open_model(plan), self.prover)
            rows = make_references(*prove, progress)
            write_rows(path, ReferenceAnswer, rows)
        references = References.of(rows)
        path = self.folder / APART
        if apart is None:
            apart = tell_apart(references, self.prover, TOLERANCES[plan.dtype])
            write_apart(path, apart)
        self._note(apart)
        for first, second, _ in apart.alike:
            self.say(
                f"{first} and {second} answer every prompt alike, or as good as alike: whether one "
                "answers for the other cannot be told"
            )
        return references._replace(alike=apart.pairs)

    def _note(self, apart: Apart) -> None:
        """Have the plan say which models cannot be told apart."""
        write_plan(self.folder, replace(self.plan, cannot_tell_apart=tuple(apart.alike)))

    def _classify(self) -> None:
        """Have one engine classify with the heads of all runs, and hold it against the runs."""
        plan, path = self.plan, self.folder / "classification.json"
        heads = [each for each in plan.adapters if each.classifier and each.task]
        if plan.engine != "vllm" or not heads:
            return
        found = recall(path, _read_classified)
        if found is None:
            self.say(f"classifying with {len(heads)} heads from one engine")
            exports = [(each.name, read_servable(Path(each.merged).parent)) for each in heads]
            found = classify_runs(
                [replace(servable, name=name) for name, servable in exports],
                Path(plan.cache),
                rows=CLASSIFIED_ROWS,
                dtype=plan.dtype,
                threads=plan.threads,
                accelerator=plan.accelerator,
            )
            write_json(path, found)
        if problem := found["problem"]:
            raise UserError(f"{problem}; force=true measures anew")

    def _events(self) -> dict[str, Any]:
        return recall(self.folder / "events.json", read_object) or {}

    def say(self, line: str) -> None:
        """Tell the user."""
        self.messages.send(say=line)


def _read_classified(path: Path) -> dict[str, Any]:
    """What ``classification.json`` holds; a ValueError or LookupError says that it is damaged."""
    saved = read_object(path)
    return saved | {"problem": saved["problem"]}


def measure(folder: Path, messages: Messages) -> None:
    """Measure what is left of a cell, and say that it is done (:meth:`Measurement.run`)."""
    plan, prompts = read_plan(folder), read_prompts(folder)
    with Prover(plan, prompts) as prover, ExitStack() as stack:
        Measurement(folder, plan, prompts, messages, prover, stack).run()
        messages.send(done=True)  # to close the engines takes seconds, and nobody waits for it
