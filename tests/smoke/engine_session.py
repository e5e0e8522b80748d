"""What the tests of real vLLM ask of it, all in one process: ``engine_session.py PLAN ANSWERS``.

Its standard streams must stay empty: what is found goes into the file ANSWERS.
"""

import json
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.generation import (
    EngineSettings,
    Intervention,
    Request,
    Sampling,
    open_engine,
    vllm_rules,
)
from loradrift.generation.vllm_classify import open_classifier

SIXTEEN = Sampling(max_tokens=16)
DRAW = Sampling(max_tokens=16, temperature=1.5)


def tokens(engine: Any, requests: list[Request], sampling: Sampling = SIXTEEN) -> list[list[int]]:
    return [list(each.token_ids) for each in engine.generate(requests, sampling)]


def refused(call: Callable[..., Any], *args: Any) -> str:
    """The line of the error that a call ends in."""
    try:
        call(*args)
    except (UserError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def side_by_side(engine: Any, requests: list[Request]) -> dict[str, Any]:
    """Adapters and the base model in one batch, and each request alone."""
    completions = engine.generate(requests, SIXTEEN)
    drawn = tokens(engine, requests, DRAW)
    return {
        "together": [list(each.token_ids) for each in completions],
        "times": [list(each.token_times_s) for each in completions],
        "served": [each.served for each in completions],
        "alone": [tokens(engine, [each])[0] for each in requests],
        "drawn": drawn,
        "drawn_alone": [tokens(engine, [each], DRAW)[0] for each in requests],
        "drawn_by_another_seed": tokens(engine, requests, replace(DRAW, seed=1)),
        "cut": tokens(engine, requests, replace(SIXTEEN, ignore_eos=False)),
        "log_likelihoods": engine.log_likelihoods(requests),
        "start_s": engine.start_s,
        "load_s": engine.load_s,
    }


def another_engine(engine: Any, merged: EngineSettings, requests: list[Request]) -> dict[str, Any]:
    """An engine that opens and closes beside the first."""
    with open_engine("vllm", merged) as other:
        inside = tokens(other, [replace(each, adapter=None) for each in requests])
    return {"merged": inside, "first_goes_on": tokens(engine, requests)}


def errors(engine: Any, plan: dict[str, Any], good: Request) -> dict[str, Any]:
    """What is refused, and the answer to a good request afterwards."""
    change = Intervention(0, (0.0,) * 32, 1.0)
    bad = {
        "unknown": replace(good, id="7", adapter="other"),
        "intervention": replace(good, id="7", interventions=(change,)),
        "long": replace(good, id="7", prompt_ids=(1,) * 60),
    }
    found = {name: refused(tokens, engine, [good, each]) for name, each in bad.items()}
    for name, folder in plan["bad_adapters"].items():
        found[name] = refused(engine.load_adapter, name, Path(folder))
    found["taken"] = refused(engine.load_adapter, "plain", Path(plan["adapters"]["plain"]))
    found["afterwards"] = tokens(engine, [good])[0]
    return found


def few_slots(settings: EngineSettings, plan: dict[str, Any], requests: list[Request]) -> Any:
    """More adapters than places; one of them vanishes."""
    doomed = Path(plan["doomed"])
    with open_engine("vllm", replace(settings, max_loras=1, max_cpu_loras=1)) as engine:
        adapted = [each for each in requests if each.adapter]
        found: dict[str, Any] = {"answers": tokens(engine, adapted)}
        found["base"] = tokens(engine, [replace(adapted[0], adapter=None)])[0]
        found["beside_base"] = refused(tokens, engine, requests)
        engine.load_adapter("doomed", doomed)
        gone = replace(adapted[0], adapter="doomed")
        found["doomed"] = tokens(engine, [gone])[0]
        tokens(engine, adapted)  # it is no longer in memory
        shutil.rmtree(doomed)
        found["vanished"] = refused(tokens, engine, [gone])
        vllm_rules.stamp = lambda folder: engine._stamps["doomed"]  # type: ignore[assignment]
        engine._stamps = dict.fromkeys(engine._stamps, engine._stamps["doomed"])
        found["vanished_inside"] = refused(tokens, engine, [*adapted, replace(gone, id="gone")])
        found["afterwards"] = tokens(engine, adapted)
        engine.unload_adapter("doomed")
        found["unloaded"] = refused(tokens, engine, [gone])
    return found


def classifiers(settings: EngineSettings, plan: dict[str, Any]) -> dict[str, Any]:
    """Heads of two and of three labels in one batch."""
    heads = {name: Path(folder) for name, folder in plan["classifiers"].items()}
    requests = requests_of(plan["to_classify"])
    with open_classifier(replace(settings, adapters=heads), plan["labels"]) as engine:
        return {
            "logits": engine.classify(requests),
            "base": refused(engine.classify, [replace(requests[0], adapter=None)]),
            "headless": refused(engine.load_adapter, "x", Path(plan["adapters"]["plain"])),
            "afterwards": engine.classify(requests[:1]),
        }


def wide(settings: EngineSettings, base: str, adapters: dict[str, str]) -> list[list[int]]:
    """An embedding and a head with adapters, beside each other and the base."""
    folders = {name: Path(folder) for name, folder in adapters.items()}
    with open_engine("vllm", replace(settings, model=Path(base), adapters=folders)) as engine:
        return tokens(engine, requests_of(wide_rows([*adapters])))


def wide_rows(names: list[str]) -> list[Any]:
    """Prompts, each for the base and every adapter."""
    return [((1, 40 + i, 41), name) for i in range(4) for name in (None, *names)]


def requests_of(rows: list[Any]) -> list[Request]:
    return [Request(str(i), tuple(ids), name) for i, (ids, name) in enumerate(rows)]


def main() -> None:
    signal.alarm(240)  # a call that never returns ends the test
    plan = json.loads(Path(sys.argv[1]).read_text())
    adapters = {name: Path(folder) for name, folder in plan["adapters"].items()}
    options = {"threads": 1, "max_length": 64, "kv_cache_bytes": 4 * 2**20}
    settings = EngineSettings(Path(plan["model"]), adapters, **options)
    merged = replace(settings, model=Path(plan["merged"]), adapters={})
    requests = requests_of(plan["requests"])
    found: dict[str, Any] = {}
    with open_engine("vllm", settings) as engine:
        found["side_by_side"] = side_by_side(engine, requests)
        found["another_engine"] = another_engine(engine, merged, requests)
        found["errors"] = errors(engine, plan, requests[0])
    found["classifiers"] = classifiers(settings, plan)
    found["wide"] = {tied: wide(settings, *each) for tied, each in plan["wide"].items()}
    small = replace(settings, kv_cache_bytes=1000)
    found["small_cache"] = refused(open_engine("vllm", small).__enter__)
    large = replace(settings, kv_cache_bytes=2**50)
    found["large_cache"] = refused(open_engine("vllm", large).__enter__)
    found["few_slots"] = few_slots(settings, plan, requests)
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
