"""The server's part of a cell: one with all adapters, and with ``full`` one without LoRA."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from loradrift.caching import recall
from loradrift.files import read_object, write_json
from loradrift.serving.answers import Gaps, References
from loradrift.serving.arms import Arm
from loradrift.serving.loads import Loads, load_path
from loradrift.serving.memory import tree_bytes
from loradrift.serving.messages import Messages, Progress
from loradrift.serving.plan import Plan, Prompt, ServerPlan
from loradrift.serving.rounds import read_round
from loradrift.serving.samples import Sample

if TYPE_CHECKING:
    from loradrift.generation.vllm_server import VllmServer

Started = TypeVar("Started")

LOG = "server.log"


def server_arms(plan: Plan) -> list[Arm]:
    """The arms of the server with all adapters, told apart by the model that is asked.

    Without ``full`` these are the base model, one adapter, and the fewest side by side.
    """
    arms = [arm for arm in plan.arms if arm.kind in ("lora_enabled_base", "single", "multi")]
    if not plan.full:
        several = [arm for arm in arms if arm.kind == "multi"]
        arms = [arm for arm in arms if arm.kind != "multi"] + several[:1]
    return arms


def merged_arm(plan: Plan) -> Arm | None:
    """The arm of the second server, whose model is merged and which has no LoRA."""
    return next((arm for arm in plan.arms if arm.kind == "merged" and plan.full), None)


@dataclass(frozen=True)
class ServerPart:
    """What is measured on servers."""

    folder: Path
    plan: Plan
    server: ServerPlan
    prompts: Sequence[Prompt]
    messages: Messages

    def samples(self) -> list[Sample] | None:
        """All answers, those of the search for rates too.

        None where a load, or what the servers took, is not measured yet.
        """
        plan = self.plan
        servers = {"server"} if merged_arm(plan) is None else {"server", "merged_server"}
        if not servers <= self._events().keys():
            return None
        rates = self._rates()
        if rates is None:
            return None
        asked: dict[str, Sequence[float]] = {
            "closed_loop": self.server.concurrency, "open_loop": rates
        }  # fmt: skip
        tables = [
            read_round(path)
            for phase, loads in asked.items()
            for round in range(plan.rounds)
            for path in self._paths(phase, loads, round)
        ]
        if any(table is None for table in tables):
            return None
        searched = sorted((self.folder / "server" / "search").glob("*.parquet"))
        tables += [read_round(path) for path in searched]
        return [sample for table in tables for sample in table or ()]

    def _events(self) -> dict[str, Any]:
        return recall(self.folder / "events.json", read_object) or {}

    def _rates(self) -> list[float] | None:
        """The request rates of all arms; None where they are not found yet."""
        path = self.folder / "server" / "rates.json"
        if not self.plan.full:
            return []
        found = recall(path, read_object)
        if found is None:
            return None
        return sorted({rate for own in found.values() for rate, _ in own})

    def _paths(self, phase: str, loads: Sequence[float], round: int) -> list[Path]:
        return [load_path(self.folder, phase, load, round) for load in loads]

    def started(self) -> "AbstractContextManager[Callable[[], dict[str, VllmServer]]]":
        """Start the servers while the block does other work; with ``full``, when it asks for them.

        So ``full`` can tell how long a start takes, and a cell of minutes does not wait for it.
        """
        if self.plan.full:
            return when_asked(self.start)
        return in_background(self.start, self.messages.fail)

    def start(self, stack: ExitStack) -> "dict[str, VllmServer]":
        """Start what the arms need: as ``events.json`` calls it -> a server that is up.

        Raises:
            UserError: If a server does not come up; quotes its log.
        """
        from loradrift.generation.vllm_server import open_server

        start_s, log, port = self.server.start_timeout_s, self.folder / LOG, self.server.port
        names = max((arm.adapters for arm in server_arms(self.plan)), key=len)
        settings = self.plan.settings(Arm("server", "multi", names))
        opened = open_server(settings, port=port, start_timeout_s=start_s, log=log)
        started = {"server": stack.enter_context(opened)}
        if (merged := merged_arm(self.plan)) is not None:
            settings = self.plan.settings(merged, merged.adapters[0])
            log = self.folder / f"merged_{LOG}"
            opened = open_server(settings, start_timeout_s=start_s, log=log)
            started["merged_server"] = stack.enter_context(opened)
        return started

    def measure(
        self, started: "Mapping[str, VllmServer]", references: References, gaps: Gaps
    ) -> None:
        """Measure the loads that are left.

        Raises:
            WrongAnswerError: If an answer is not that of the model that was asked.
            UserError: If a request fails; quotes the server's log.
        """
        servers = {arm.name: started["server"] for arm in server_arms(self.plan)}
        if (merged := merged_arm(self.plan)) is not None:
            servers[merged.name] = started["merged_server"]
        own = (self.plan, self.server, self.prompts, self.folder)
        loads = Loads(*own, references, gaps, servers)
        self._rounds("closed_loop", self.server.concurrency, loads.closed_loops)
        if self.plan.full:
            if self._rates() is None:
                self.messages.send(say="looking for the request rates that saturate the server")
                loads.find_rates()
            self._rounds("open_loop", self._rates() or [], loads.open_loops)
        self._note(started)

    def _rounds(self, phase: str, loads: Sequence[float], measure: Callable[[int], None]) -> None:
        """Measure the rounds that are left, whose time tells that of the others."""
        noun = {"closed_loop": "rounds of the server", "open_loop": "rounds of request rates"}
        left = [
            round
            for round in range(self.plan.rounds)
            if any(read_round(path) is None for path in self._paths(phase, loads, round))
        ]
        done = self.plan.rounds - len(left)
        progress = Progress(self.messages, noun[phase], self.plan.rounds, done=done)
        for number, round in enumerate(left, done + 1):
            measure(round)
            progress.reach(number)

    def _note(self, started: "Mapping[str, VllmServer]") -> None:
        """Add to ``events.json`` what the servers took, and the seconds of a load at run time."""
        server, alone = started["server"], self.plan.full
        for name in server.settings.adapters:
            server.unload_adapter(name)
            server.load_adapter(name, self.plan.adapter_folder(name))
        events = self._events()
        for name, each in started.items():
            events[name] = {
                "start_s": each.start_s if alone else None,  # other work took a part of the time
                "load_s": dict(each.load_s),
                "memory_gb": tree_bytes(each.pid) / 1e9,
            }
        write_json(self.folder / "events.json", events)


@contextmanager
def when_asked(start: Callable[[ExitStack], Started]) -> Iterator[Callable[[], Started]]:
    """As :func:`in_background`, but nothing is started before the block calls its function."""
    with ExitStack() as stack:
        yield lambda: start(stack)


@contextmanager
def in_background(
    start: Callable[[ExitStack], Started], failed: Callable[[BaseException], None]
) -> Iterator[Callable[[], Started]]:
    """Have a thread start something, while the block does other work.

    The block is given a function that waits for what was started, or raises what went wrong, which
    ``failed`` is told at once: the other work may take minutes. Where the block ends before, by an
    error, so does this process, and with it what is being started.
    """
    stack, outcome = ExitStack(), Future[Started]()

    def work() -> None:
        try:
            outcome.set_result(start(stack))
        except BaseException as error:
            outcome.set_exception(error)
            failed(error)

    Thread(target=work, name="start", daemon=True).start()
    try:
        yield outcome.result
    finally:
        if outcome.done():
            stack.close()
