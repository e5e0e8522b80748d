"""An engine without a model: its answers and its times are known, and so are its faults."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from loradrift.generation import Completion, EngineSettings, Request, Sampling
from loradrift.serving.answers import References
from loradrift.serving.arms import make_arms
from loradrift.serving.config import ServingConfig
from loradrift.serving.plan import Plan, Prompt, ServedAdapter
from loradrift.serving.references import make_references
from loradrift.serving.rounds import Offline

ADAPTERS = ("sst2", "mrpc", "rte", "squad_v2")


def true_answer(model: str | None, prompt: Sequence[int], size: int) -> tuple[int, ...]:
    """What a model answers: a chain of numbers that depends on the model from the first one on."""
    tokens = list(prompt)
    step = 1 + (ADAPTERS.index(model) + 1 if model else 0)
    for _ in range(size):
        tokens.append((7 * tokens[-1] + 3 * len(tokens) + step) % 997)
    return tuple(tokens[len(prompt) :])


class SimulatedEngine:
    """Answers as its models do, a millisecond (times ``overhead``) a token."""

    start_s = 0.0

    def __init__(self, settings: EngineSettings, *, merged: str | None, overhead: float) -> None:
        self.settings, self.merged, self.overhead = settings, merged, overhead
        self.served = 0

    def model_for(self, request: Request, batch: Sequence[Request]) -> str | None:
        """The model that answers; a faulty engine takes another one."""
        return request.adapter or self.merged

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        began = time.perf_counter()
        times = [1e-4 * (i + 1) * self.overhead for i in range(sampling.max_tokens)]
        time.sleep(times[-1])
        assert time.perf_counter() - began >= times[-1]
        answers = []
        for request in requests:
            model = self.model_for(request, requests)
            tokens = true_answer(model, request.prompt_ids, sampling.max_tokens)
            answers.append(Completion(request.id, tokens, tuple(times), request.adapter))
            self.served += 1
        return answers

    def load_adapter(self, name, folder) -> float:
        return 0.001

    def unload_adapter(self, name) -> None:
        pass

    def log_likelihoods(self, requests) -> list[float]:
        raise NotImplementedError


class OneInTwoHundred(SimulatedEngine):
    """Every 200th request is answered by another adapter."""

    def model_for(self, request, batch):
        others = [name for name in ADAPTERS if name != request.adapter]
        return others[0] if request.adapter and self.served % 200 == 137 else request.adapter


class BaseRowFault(SimulatedEngine):
    """vLLM's on a CPU: once every slot is full, base rows get the last slot's adapter."""

    def model_for(self, request, batch):
        loaded = list(self.settings.adapters)
        full = self.settings.lora and len(loaded) >= (self.settings.max_loras or len(loaded))
        return loaded[-1] if full and loaded and request.adapter is None else request.adapter


def true_gaps(prompts: Sequence[Prompt]):
    """``Gaps``: 0 for the model's own token after those before it, else 5 nats."""

    def gaps(model, answers):
        found = []
        for number, tokens in answers:
            before = prompts[number].token_ids
            right = [true_answer(model, before + tokens[:i], 1)[0] for i in range(len(tokens))]
            found.append([0.0 if a == b else 5.0 for a, b in zip(tokens, right, strict=True)])
        return found

    return gaps


def make_plan(count: int = 4, **changed) -> Plan:
    """A cell of ``count`` adapters; ``changed`` are values of the plan or of ``ServingConfig``."""
    own = {key: changed.pop(key) for key in list(changed) if hasattr(ServingConfig(), key)}
    serving = ServingConfig(**{"rounds": 2, "batch_sizes": [1, 4], "max_tokens": 6} | own)
    names = ADAPTERS[:count]
    served = tuple(
        ServedAdapter(
            name=name, label=name, task=name, source=name, rank=8, sha256={}, drawn=False,
            adapter=f"served/{name}/adapter", merged=f"served/{name}/merged",
            certificate="14 checks hold",
        )
        for name in names
    )  # fmt: skip
    values = dict(
        engine="vllm", opener="simulated:none", kernels="none",
        model={"name": "tiny", "path": "base", "fingerprint": "", "parameters": 1, "label": ""},
        dtype=serving.dtype, accelerator="cpu", threads=1, kv_cache_mb=1, mix=serving.mix,
        batch_sizes=tuple(serving.batch_sizes), rounds=serving.rounds,
        max_tokens=serving.max_tokens, prompts="tasks", prompt_length=8, seed=0,
        cache=".cache", latency_target_s=1.0, full=serving.full, memory=False, tiny_note="",
        adapters=served, arms=make_arms(names, 8, "vllm", serving), server=None,
    )  # fmt: skip
    return Plan(**values | changed)


def make_prompts(count: int = 12) -> list[Prompt]:
    return [Prompt((3 * i + 5, i + 1), ADAPTERS[i % 4], f"row {i}") for i in range(count)]


def open_offline(
    plan: Plan, kinds: Mapping[str, type[SimulatedEngine]] | None = None, overhead: float = 1.0
) -> Offline:
    """All arms on simulated engines; ``kinds`` gives the faulty ones by the kind of arm."""
    prompts = make_prompts()

    def engine(arm):
        kind = (kinds or {}).get(arm.kind, SimulatedEngine)
        merged = arm.adapters[0] if arm.kind == "merged" else None
        slow = overhead if arm.lora else 1.0
        return kind(plan.settings(arm, merged), merged=merged, overhead=slow)

    engines = {arm.name: engine(arm) for arm in plan.arms}
    gaps = true_gaps(prompts)
    references = References.of(make_references(plan, prompts, opener(plan), gaps))
    return Offline(plan, prompts, engines, references, gaps)


def opener(plan: Plan):
    """``OpenModel`` of simulated engines."""

    @contextmanager
    def open_model(model: str | None) -> Iterator[SimulatedEngine]:
        settings = EngineSettings(model=plan.model_of(model))
        yield SimulatedEngine(settings, merged=model, overhead=1.0)

    return open_model
