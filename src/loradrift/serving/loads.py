"""What servers are asked: closed loops of some clients, and open loops at request rates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from loradrift.caching import recall
from loradrift.files import read_object, write_json
from loradrift.serving.answers import Gaps, References, judge
from loradrift.serving.plan import Plan, Prompt, ServerPlan, make_requests
from loradrift.serving.rounds import keep, read_round
from loradrift.serving.samples import Sample
from loradrift.serving.tolerance import TOLERANCES
from loradrift.serving.workload import shuffled

if TYPE_CHECKING:
    from loradrift.generation.vllm_server import VllmServer
    from loradrift.serving.load import Call, Load

ALONE = 5
"""Requests, one after the other, by whose latencies the first request rate is chosen."""


@dataclass(frozen=True)
class Loads:
    """Servers that are up, and what their answers are held against."""

    plan: Plan
    server: ServerPlan
    prompts: Sequence[Prompt]
    folder: Path
    references: References
    gaps: Gaps
    servers: Mapping[str, "VllmServer"]
    """By arm."""

    def closed_loops(self, round: int) -> None:
        """Each arm with each number of clients; a file for each number.

        Raises:
            WrongAnswerError: If an answer is not that of the model that was asked.
            UserError: If a request fails.
        """
        from loradrift.serving.load import closed_loop

        for clients in self.server.concurrency:
            path = load_path(self.folder, "closed_loop", clients, round)
            if read_round(path) is not None:
                continue
            samples: list[Sample] = []
            for arm in self._order(self.servers, clients, round):
                call = self._call(arm, round, clients * self.server.requests)
                samples += whole(closed_loop(self.servers[arm], call, clients))
            self._keep(path, samples)

    def open_loops(self, round: int) -> None:
        """Each arm at each of its request rates; as :meth:`closed_loops`.

        A rate that saturates a server is measured too: its requests may take long, and none fails.
        """
        from loradrift.serving.load import open_loop

        rates = self.find_rates()
        for rate in sorted({rate for own in rates.values() for rate, _ in own}):
            path = load_path(self.folder, "open_loop", rate, round)
            if read_round(path) is not None:
                continue
            counts = {arm: count for arm, own in rates.items() for r, count in own if r == rate}
            samples: list[Sample] = []
            for arm in self._order(counts, rate, round):
                call = self._call(arm, round, counts[arm])
                samples += whole(open_loop(self.servers[arm], call, rate))
            self._keep(path, samples)

    def find_rates(self) -> dict[str, list[tuple[float, int]]]:
        """The rates of each arm, and how many requests are sent at each; found once.

        They are the configuration's, else those that double until one saturates the server. The
        first is the same for all arms: half of what one request after the other reaches, by the
        median of :data:`ALONE` latencies.
        """
        from loradrift.serving.load import closed_loop

        path = self.folder / "server" / "rates.json"
        if (kept := recall(path, read_object)) is not None:
            return {arm: [(r, n) for r, n in own] for arm, own in kept.items()}
        least = self.server.requests * max(self.server.concurrency)
        arms = list(self.servers)
        if self.server.rates:
            found = {arm: [(rate, least) for rate in self.server.rates] for arm in arms}
        else:
            alone = whole(closed_loop(self.servers[arms[0]], self._call(arms[0], 0, ALONE), 1))
            self._keep(search_path(self.folder, "alone"), alone)
            latency_s = median(each.latency_s for each in alone)
            found = {arm: self._saturate(arm, latency_s, least) for arm in arms}
        write_json(path, found)
        return found

    def _saturate(self, arm: str, alone_s: float, least: int) -> list[tuple[float, int]]:
        """The rates that double until one saturates the arm's server; all answers are checked."""
        from loradrift.serving.load import closed_loop, open_loop, sweep

        tried: list[tuple[float, int]] = []
        samples: list[Sample] = []

        def measure(rate: float, count: int) -> "Load":
            load = open_loop(self.servers[arm], self._call(arm, 0, count), rate)
            samples.extend(each._replace(phase="rate_search") for each in load.samples)
            if load.error is None:  # at a rate at which requests fail nothing can be measured
                tried.append((rate, count))
            return load

        loads = sweep(measure, alone_s, least)
        self._keep(search_path(self.folder, arm), samples)
        if loads[-1].error is not None:
            if not tried:
                whole(loads[-1])
            # a server that has ended is not saturated: it does not answer this
            whole(closed_loop(self.servers[arm], self._call(arm, 0, 1), 1))
        return tried

    def _order(self, arms: Iterable[str], load: float, round: int) -> list[str]:
        calls = [(arm, float(load)) for arm in arms]
        return [arm for arm, _ in shuffled(calls, self.plan.seed, round)]

    def _call(self, name: str, round: int, count: int) -> "Call":
        from loradrift.serving.load import Call

        arm = next(arm for arm in self.plan.arms if arm.name == name)
        work = self.plan.workload(self.prompts)
        numbers = work.prompts(round, count)
        asked: Sequence[str | None] = [None] * count
        if arm.lora and arm.adapters:
            asked = work.assign(arm.adapters, round, count)
        requests = make_requests(self.prompts, numbers, asked)
        merged = arm.adapters[0] if arm.merged else None
        return Call(name, round, numbers, requests, self.plan.sampling, merged)

    def _keep(self, path: Path, samples: Sequence[Sample]) -> None:
        judged = judge(samples, self.references, self.gaps, TOLERANCES[self.plan.dtype])
        keep(path, judged, self.plan)


def whole(load: "Load") -> list[Sample]:
    """The samples of a load, none of whose requests failed; else its error is raised."""
    if load.error is not None:
        raise load.error
    return load.samples


def load_path(folder: Path, phase: str, load: float, round: int) -> Path:
    """The file of a load in a round."""
    return folder / "server" / f"{phase}-{load:g}-round={round:03d}.parquet"


def search_path(folder: Path, arm: str) -> Path:
    """The file of what an arm was asked to find its rates, whose times are in no figure."""
    return folder / "server" / "search" / f"{arm}.parquet"
