"""All engines of a cell, open in one process, and warm."""

import gc
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from loradrift.generation.base import Engine, EngineSettings
from loradrift.serving.arms import Arm
from loradrift.serving.plan import Plan, Prompt, make_requests
from loradrift.serving.references import OpenModel

WARM_UP_TOKENS = 4

Open = Callable[[EngineSettings], AbstractContextManager[Engine]]


def opener(plan: Plan) -> Open:
    """What starts an offline engine of the cell."""
    found: Open = pkgutil.resolve_name(plan.opener)
    return found


@contextmanager
def open_arm(plan: Plan, arm: Arm) -> Iterator[dict[str, Engine]]:
    """The engines of one arm: its own, or one for each of its merged models."""
    open_engine = opener(plan)
    with ExitStack() as stack:
        if arm.kind == "engines":
            settings = {f"merged_{name}": plan.settings(arm, name) for name in arm.adapters}
        else:
            settings = {arm.name: plan.settings(arm, arm.adapters[0] if arm.merged else None)}
        yield {name: stack.enter_context(open_engine(each)) for name, each in settings.items()}


@contextmanager
def open_arms(plan: Plan) -> Iterator[dict[str, Engine]]:
    """The engines of all arms, by arm; engines side by side are those of the merged arms."""
    first = next((arm for arm in plan.arms if arm.lora), plan.arms[0])
    with opener(plan)(plan.settings(first)):
        pass  # the first start of a process takes what no other does, and the first with LoRA too
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for arm in plan.arms:
            if arm.kind != "engines":
                engines |= stack.enter_context(open_arm(plan, arm))
        yield engines


def open_model(plan: Plan) -> OpenModel:
    """The engine of a merged model, or of the base."""
    open_engine = opener(plan)
    return lambda model: open_engine(plan.settings(Arm("", "merged"), model))


def warm_up(plan: Plan, prompts: Sequence[Prompt], arm: Arm, engine: Engine) -> None:
    """Have an engine answer with each of its adapters, and at each batch size."""
    sampling = replace(plan.sampling, max_tokens=min(WARM_UP_TOKENS, plan.max_tokens))
    adapters: Sequence[str | None] = arm.adapters if arm.lora and arm.adapters else [None]
    for size in {*plan.batch_sizes, len(adapters)}:
        numbers = list(islice(cycle(range(len(prompts))), size))
        requests = make_requests(prompts, numbers, list(islice(cycle(adapters), size)))
        engine.generate(requests, sampling)


def settle() -> None:
    """Keep the garbage collector from what is there: it takes a third of a second to look at it.

    vLLM's own engine process does so before it answers; closing an engine undoes it.
    """
    gc.collect()
    gc.freeze()


def start_times(engines: Mapping[str, Engine]) -> dict[str, Any]:
    """How long each engine took to start, and each adapter to load: what ``events.json`` holds."""
    return {
        name: {"start_s": engine.start_s, "load_s": dict(getattr(engine, "load_s", {}))}
        for name, engine in engines.items()
    }
