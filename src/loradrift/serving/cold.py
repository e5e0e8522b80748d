"""The first request to an adapter, against a later one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from loradrift.generation.base import Engine
from loradrift.serving.answers import Gaps, References, judge
from loradrift.serving.arms import Arm
from loradrift.serving.plan import Plan, Prompt, make_requests
from loradrift.serving.samples import ColdStart, Sample
from loradrift.serving.tolerance import TOLERANCES

COLD_TOKENS = 8
"""Tokens of these answers, whose first one is waited for."""


@dataclass
class ColdStarts:
    """First and second requests, one at a time.

    The engine that has LoRA enabled and no adapter loads each one from its files, answers twice and
    forgets it. The one with fewer slots than adapters has all of them in the host's memory, and a
    request to the one that was used longest ago takes a slot from another. The one that keeps no
    more in memory than it has slots loads it from its files again, while the request waits. After
    the first round the operating system keeps the files in memory, so that loading reads no disk.
    """

    plan: Plan
    prompts: Sequence[Prompt]
    engines: Mapping[str, Engine]
    rows: list[ColdStart] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def measure(self, references: References, gaps: Gaps) -> list[Sample]:
        """All rounds, which are :attr:`rows` then; gives the answers, judged."""
        arms = {arm.kind: arm for arm in self.plan.arms}
        enabled = arms.get("lora_enabled_base")
        few = [arms[kind] for kind in ("few_slots", "few_in_memory") if kind in arms]
        for arm in few:
            # what was asked before may still hold a slot: the last ones push it out
            for name in arm.adapters[-(arm.max_loras or 0) :]:
                self._ask(0, arm, name)
        for round in range(self.plan.rounds):
            if enabled is not None:
                engine = self.engines[enabled.name]
                for each in self.plan.adapters:
                    folder = self.plan.adapter_folder(each.name)
                    self._ask_twice(
                        round, enabled, each.name, engine.load_adapter(each.name, folder)
                    )
                    engine.unload_adapter(each.name)
            for arm in few:
                for name in arm.adapters:
                    self._ask_twice(round, arm, name, 0.0)
        return judge(self.samples, references, gaps, TOLERANCES[self.plan.dtype])

    def _ask_twice(self, round: int, arm: Arm, adapter: str, load_s: float) -> None:
        for state, loading in (("cold", load_s), ("warm", 0.0)):
            ttft_s = self._ask(round, arm, adapter)
            self.rows.append(ColdStart(round, arm.name, adapter, state, loading, ttft_s))

    def _ask(self, round: int, arm: Arm, adapter: str) -> float:
        """Seconds to the first token of one request."""
        [number] = self.plan.workload(self.prompts).prompts(round, 1)
        requests = make_requests(self.prompts, [number], [adapter])
        size = min(COLD_TOKENS, self.plan.max_tokens)
        sampling = replace(self.plan.sampling, max_tokens=size)
        [answer] = self.engines[arm.name].generate(requests, sampling)
        times = list(answer.token_times_s)
        self.samples.append(
            Sample(
                phase="cold",
                arm=arm.name,
                load=1.0,
                round=round,
                request=sum(each.round == round for each in self.samples),
                prompt=number,
                asked=adapter,
                served=answer.served,
                submitted_s=0.0,
                ttft_s=times[0],
                latency_s=times[-1],
                tokens=len(times),
                token_times_s=times,
                token_ids=list(answer.token_ids),
                call_s=times[-1],
            )
        )
        return times[0]
