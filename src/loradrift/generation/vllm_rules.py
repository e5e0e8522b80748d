"""What vLLM can serve, told from files before it starts: inside it a bad adapter is a deadlock."""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import WEIGHTS, AdapterFiles
from loradrift.adapters.starts import MOVES_BASE
from loradrift.config import UserError
from loradrift.config.benchmarks import RANKS
from loradrift.config.errors import check
from loradrift.generation.adapter_rules import check_changes, is_wide
from loradrift.generation.base import EngineSettings
from loradrift.generation.settings import check_settings
from loradrift.weights import StoredWeights
from loradrift.weights.stored import read_json

HEAD_SIZES = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Of vLLM's attention on a CPU; others end the engine at the first request."""

HEADS = ("classifier", "score")
"""What an adapter may hold besides factors, where its model classifies."""

WIDE = ("embed_tokens", "lm_head")
"""Modules as wide as the vocabulary whose factors vLLM takes, where it takes any."""

WIDE_MODELS = (
    "ApertusForCausalLM", "Ernie4_5ForCausalLM", "Exaone4ForCausalLM", "FalconH1ForCausalLM",
    "GraniteForCausalLM", "GraniteMoeForCausalLM", "GraniteMoeHybridForCausalLM",
    "GraniteMoeSharedForCausalLM", "JambaForCausalLM", "Lfm2ForCausalLM", "Lfm2MoeForCausalLM",
    "LlamaForCausalLM", "MiniCPMForCausalLM", "MixtralForCausalLM", "NemotronForCausalLM",
    "Phi3ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "SolarForCausalLM",
)  # fmt: skip
"""Architectures with which vLLM 0.32 takes them, by ``embedding_modules`` of its models.

Tied and not, answers were PEFT's with Apertus, Ernie 4.5, EXAONE 4, Granite, Llama, Nemotron, Phi-3
and Qwen3 (random weights, fp32, on a CPU); the others were not tried.
"""

MERGE = "`python benchmark.py benchmark=export run={folder}` makes a merged model"


def check_installed(engine: str = "vllm") -> None:
    """Raise a UserError if there is no vLLM for ``engine``, with the commands that bring it."""
    if find_spec("vllm") is None:
        raise UserError(
            f"engine={engine} needs vLLM, which is not installed: `make serve-setup` makes it on a "
            "CPU, `pip install '.[serve]'` on a GPU; engine=hf needs neither"
        )


def environment(settings: EngineSettings) -> dict[str, str]:
    """Variables that vLLM must find set, in this process or in a server's."""
    variables = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    if settings.accelerator == "cpu":
        # "auto" overrides OMP_NUM_THREADS and puts every engine onto the first core
        variables["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        if settings.threads is not None:
            variables["OMP_NUM_THREADS"] = str(settings.threads)
    return variables


def engine_options(settings: EngineSettings, rank: int) -> dict[str, Any]:
    """The settings as vLLM's own engine arguments.

    Args:
        settings: The engine's.
        rank: The largest rank of its adapters.

    Raises:
        UserError: If a rank or ``max_cpu_loras`` is out of range, or the kernels lack the type.
    """
    on_cpu = settings.accelerator == "cpu"
    options: dict[str, Any] = {
        "model": str(settings.model),
        "dtype": settings.dtype,  # "auto" would cast float32 to bfloat16
        "seed": settings.seed,
        "max_model_len": settings.max_length,
        "kv_cache_memory_bytes": settings.kv_cache_bytes,
        "enable_prefix_caching": False,
        "skip_tokenizer_init": True,
        "enforce_eager": on_cpu,  # LoRA turns compilation off there: so does every arm
    }
    if not on_cpu:
        # only what must be free at the start: kv_cache_memory_bytes decides what is taken
        options["gpu_memory_utilization"] = 0.1
    if has_lora(settings):
        slots, kept = lora_slots(settings), settings.max_cpu_loras
        check(kept is None or kept >= slots, "max_cpu_loras", f"at least {slots}, max_loras", kept)
        rounded = on_cpu or settings.dtype != "float32"
        check(rounded, "dtype", "bfloat16 for the kernels of adapters on a GPU", settings.dtype)
        options |= {
            "enable_lora": True,
            "max_loras": slots,
            "max_cpu_loras": kept or slots,
            "max_lora_rank": lora_rank(settings, rank),
        }
    return options


def lora_slots(settings: EngineSettings) -> int:
    """Adapters in the device's memory at a time.

    The CPU kernels give rows of the base model the last slot's adapter; one slot more than there
    are adapters stays empty.
    """
    spare = settings.accelerator == "cpu"
    return settings.max_loras or max(1, len(settings.adapters) + spare)


def lora_rank(settings: EngineSettings, rank: int) -> int:
    """The least of :data:`RANKS` that holds the adapters and what is declared.

    Raises:
        UserError: If there is none.
    """
    declared = settings.max_lora_rank
    if declared is not None and declared < rank:
        raise UserError(
            f"max_lora_rank must be at least {rank}, the adapters' largest rank, got {declared}"
        )
    wanted = declared or rank
    fitting = [step for step in RANKS if step >= wanted]
    if not fitting:
        raise UserError(f"max_lora_rank must be at most {RANKS[-1]} for vLLM, got {wanted}")
    return fitting[0]


def check_model(settings: EngineSettings) -> None:
    """Refuse a base model that vLLM would serve wrongly, or with an error of many lines.

    Raises:
        UserError: As :func:`check_settings`, and if the size of its heads is none of vLLM's.
    """
    config = check_settings(settings)
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    size = config.get("head_dim") or (width // heads if heads and width else None)
    if settings.accelerator == "cpu" and size is not None and size not in HEAD_SIZES:
        sizes = ", ".join(map(str, HEAD_SIZES))
        raise UserError(
            f"{settings.model}: the size of its attention heads must be one of {sizes} for vLLM on "
            f"a CPU, got {size}; engine=hf serves it"
        )


def check_adapter(files: AdapterFiles, base: StoredWeights) -> int:
    """Refuse an adapter that vLLM cannot serve, or would serve as something else; gives its rank.

    Args:
        files: A PEFT adapter's.
        base: The weights that it is to change.

    Raises:
        UserError: Names the folder, the key, the rule and the value.
    """
    _check_config(files)
    check_changes(files, base)
    if why := why_not_wide(files, base.folder):
        raise UserError(f"{files.folder}: {why}; {MERGE.format(folder=files.folder)}")
    return max(map(files.rank, files.parts))


def why_not_wide(files: AdapterFiles, base: Path) -> str | None:
    """Why vLLM does not serve factors of an embedding or a head; None where it does.

    It changes the module that is named alone, as PEFT does: a head that is tied to an adapted
    embedding stays what it was.
    """
    names = {name.rpartition(".")[2] for name in files.parts if is_wide(files, name)}
    if not names:
        return None
    named = " and ".join(sorted(names))
    [architecture, *_] = read_json(base / "config.json").get("architectures") or ["other models"]
    if architecture not in WIDE_MODELS or not names <= {*WIDE}:
        return f"vLLM does not serve factors of {named} with {architecture}"
    if files.config.get("ensure_weight_tying"):
        return f"vLLM does not tie the factors of {named} to another module (ensure_weight_tying)"
    return None


def _check_config(files: AdapterFiles) -> None:
    config = files.config
    start = config.get("init_lora_weights")
    saved = [name for name in config.get("modules_to_save") or [] if name not in HEADS]
    largest = max([0, *(config.get("rank_pattern") or {}).values()])
    rules: Mapping[str, tuple[bool, str, object]] = {
        "r": (config["r"] <= RANKS[-1], f"at most {RANKS[-1]}", config["r"]),
        "rank_pattern": (largest <= RANKS[-1], f"at most {RANKS[-1]}", largest),
        "use_dora": (not config.get("use_dora"), "false", True),
        "lora_bias": (not config.get("lora_bias"), "false", True),
        "bias": (config.get("bias") in (None, "none"), "none", config.get("bias")),
        "init_lora_weights": (
            not str(start).startswith(MOVES_BASE),
            "one that leaves the base weights alone",
            start,
        ),
        "modules_to_save": (not saved, f"none but {' and '.join(HEADS)}", ", ".join(saved)),
    }
    for key, (legal, rule, value) in rules.items():
        if not legal:
            place, merge = files.folder / CONFIG, MERGE.format(folder=files.folder)
            got = json.dumps(value) if isinstance(value, bool) else value
            raise UserError(f"{place}: {key} must be {rule} for vLLM, got {got}; {merge}")


def has_lora(settings: EngineSettings) -> bool:
    """Whether the engine can have adapters."""
    return bool(settings.adapters) or settings.lora


def stamp(folder: Path) -> tuple[tuple[int, int], ...]:
    """What tells whether an adapter's files are still there and the same.

    Raises:
        UserError: If one is gone.
    """
    try:
        stats = [os.stat(folder / name) for name in (CONFIG, WEIGHTS)]
    except OSError as error:
        raise UserError(f"{folder} can no longer be read: {error.strerror}") from None
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)
