"""What is looked at before anything is made or measured: keys without effect, and the device."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from loradrift.config import TinyModelConfig, UserError
from loradrift.config.benchmarks import refuse_absent_gpu, refuse_training_keys
from loradrift.config.keys import typed_keys
from loradrift.generation.vllm_rules import check_installed
from loradrift.progress import tell
from loradrift.serving.arms import round_up
from loradrift.serving.choice import choose_sources, typed_runs
from loradrift.serving.config import ServingBenchmarkConfig
from loradrift.serving.plan import Plan


def refuse_bare(config: ServingBenchmarkConfig) -> None:
    """Refuse a machine without vLLM; where there are no adapters either, say both at once.

    Raises:
        UserError: Names the commands that bring what lacks.
    """
    if config.engine == "hf":
        return
    try:
        check_installed(config.engine)
    except UserError as lacking:
        try:
            choose_sources(config)
        except UserError as error:
            raise UserError(f"{lacking}; and {error}") from None
        raise


def refuse_idle_keys(config: ServingBenchmarkConfig, overrides: Sequence[str]) -> None:
    """Refuse what was typed and would have no effect."""
    serving, typed = config.serving, typed_keys(overrides)
    if config.engine == "vllm_server" and not serving.server.enabled:
        raise UserError("serving.server.enabled must be true with engine=vllm_server, got false")
    idle = _idle(config)
    if isinstance(config.model, TinyModelConfig):
        typed -= {"data.seed"}  # the small model's own, where that has to be made again
    else:
        idle["model.attention"] = "engines, which take the fast one where the model has it"
    for key in sorted(typed):
        for start, why in idle.items():
            if f"{key}.".startswith(f"{start}."):
                raise UserError(f"{key} has no effect with {why}")
    refuse_training_keys(config, typed)


def _idle(config: ServingBenchmarkConfig) -> dict[str, str]:
    """Beginning of a key -> with what it has no effect."""
    serving = config.serving
    idle = {"study": "benchmark=serving: serving.study names whose adapters are served"}
    if max(serving.adapters) == 1:
        idle["serving.mix"] = "one adapter, which is asked by all requests"
    if not serving.full:
        idle["serving.server.rates"] = "serving.full=false, which measures no request rates"
    if not serving.server.enabled:
        keys = [each.name for each in fields(serving.server) if each.name != "enabled"]
        idle |= {f"serving.server.{key}": "serving.server.enabled=false" for key in keys}
        if serving.full and max(serving.adapters) == 1:
            idle["serving.full"] = "one adapter and no server"
    if config.engine == "hf":
        why = "engine=hf, which has no server and no slots"
        keys = ["server", "slots", "declared_rank", "kv_cache_mb", "full"]
        idle |= {f"serving.{key}": why for key in keys}
    if config.engine == "vllm_server":
        why = "engine=vllm_server, which has no offline arms"
        keys = ["memory", "slots", "declared_rank", "batch_sizes"]
        idle |= {f"serving.{key}": why for key in keys}
    if serving.prompts == "fixed" and not typed_runs(config):
        idle["data"] = "serving.prompts=fixed, which are rows of no task"
    if typed_runs(config):
        idle["data"] = "adapters of runs, whose prompts are rows of the runs' own data"
    if serving.source == "drawn":
        why = "serving.source=drawn, which takes no runs"
        idle |= {f"serving.{key}": why for key in ("study", "method", "folders")}
    else:
        idle["serving.rank"] = "serving.source=runs, whose adapters have ranks of their own"
        if serving.folders:
            idle |= {f"serving.{key}": "serving.folders" for key in ("study", "method")}
    return idle


def refuse_idle_arms(plan: Plan, config: ServingBenchmarkConfig, overrides: Sequence[str]) -> None:
    """Refuse a typed value by which an arm would be like another one, and tell of a default."""
    if not plan.offline or plan.engine == "hf":
        return
    serving, kinds = config.serving, {arm.kind for arm in plan.arms}
    reserved, count = round_up(max(each.rank for each in plan.adapters)), len(plan.adapters)
    rules: Mapping[str, tuple[str, int | None, str]] = {
        "serving.declared_rank": (
            "declared_rank",
            serving.declared_rank,
            f"above {reserved}, which these adapters take without it",
        ),
        "serving.slots": ("few_slots", serving.slots, f"less than {count}, the adapters"),
    }
    idle = {
        key: (value, rule)
        for key, (kind, value, rule) in rules.items()
        if value is not None and kind not in kinds
    }
    for key in sorted(typed_keys(overrides) & idle.keys()):
        value, rule = idle[key]
        raise UserError(f"{key} must be {rule}, or it has no effect, got {value}")
    for key, (value, rule) in idle.items():
        tell(f"{key}={value} has no effect and its arm is left out: it is not {rule}")


def check_gpu(config: ServingBenchmarkConfig) -> None:
    """Refuse a GPU that is not there, and a type that its kernels of adapters lack."""
    if config.trainer.accelerator != "gpu":
        return
    if config.engine != "hf" and config.serving.dtype == "float32":
        raise UserError(
            "serving.dtype must be bfloat16 on a GPU, where vLLM's kernels of adapters have no "
            "float32, got float32"
        )
    refuse_absent_gpu(config)
