"""What ``benchmark.py`` measures: the keys that its benchmarks share, and their registry."""

import os
import pkgutil
import platform
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from loradrift.config.errors import UserError, check_option
from loradrift.config.models import ModelConfig
from loradrift.config.running import CPU_FACTS, DataConfig, ScaleConfig, TrainerConfig
from loradrift.config.schemas import open_schema
from loradrift.config.studies import StudyConfig
from loradrift.config.values import check_seed, folder_field
from loradrift.config.variants import folder_name

ENGINES = ("vllm", "vllm_server", "hf")
"""What can answer prompts: vLLM in this machine's process, its server, or transformers and PEFT."""

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's ``max_lora_rank`` can be: ranks that it reserves memory for."""

BENCHMARK_COORDINATES = ("benchmark", "engine", "model")
"""The coordinates of a benchmark's cell, which have folders of their own."""


@dataclass(kw_only=True)
class BenchmarkConfig:
    """One cell of a benchmark: an engine, a model, and what is asked of them."""

    benchmark: str = MISSING
    """Chosen by ``benchmark=<name>``."""

    engine: str = "vllm"
    """``vllm`` (offline), ``vllm_server`` or ``hf`` (transformers and PEFT)."""

    scale: ScaleConfig = field(default_factory=ScaleConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    model: ModelConfig = MISSING
    data: DataConfig = MISSING
    trainer: TrainerConfig = MISSING
    """Of it, ``accelerator`` and ``threads``: where the engine runs."""

    seed: int = 0
    """Draws the prompts, the order of the arms, and adapters that no run has trained."""

    runs: str = folder_field("runs")
    """Folder of all runs: those whose adapters are used, and the benchmark's own cells."""

    results: str = folder_field("results")
    """Folder of what is made of them."""

    cache: str = folder_field(".cache")
    """Folder of everything that can be made again: exported adapters and merged models too."""

    force: bool = False
    """Archive what the cell holds and start anew, unless it is finished and the same."""

    variant: str = ""
    """Filled in at the door: whatever else was overridden."""

    def __post_init__(self) -> None:
        check_option(self, "engine", *ENGINES)
        check_seed("seed", self.seed)

    @property
    def cell(self) -> Path:
        """The folder of a cell, which is its coordinates."""
        place = Path(self.runs, self.benchmark, self.engine)
        return place / folder_name(self.model.name, self.variant)


def refuse_training_keys(config: BenchmarkConfig, typed: Collection[str]) -> None:
    """Refuse what was typed of a training, and has no effect where nothing is trained.

    Raises:
        UserError: Names the key.
    """
    if config.trainer.name in ("ddp", "fsdp"):
        raise UserError(
            f"trainer={config.trainer.name} has no effect on an engine, which has one device: "
            "trainer=cpu or trainer=gpu"
        )
    used = ("trainer.accelerator", "trainer.threads", "trainer.name")
    of_training = ("data.train_rows", "data.validation_rows")
    for key in sorted(typed):
        idle = key in of_training or key.startswith(("trainer.", "scale."))
        if idle and key not in used:
            what = f"benchmark={config.benchmark}, which trains nothing"
            raise UserError(f"{key} has no effect with {what}")


def refuse_absent_gpu(config: BenchmarkConfig) -> None:
    """Raise a UserError if the engine is to run on a GPU that is not there."""
    if config.trainer.accelerator != "gpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu needs a GPU, this machine has none")


def device_name(accelerator: str, threads: int | None) -> str:
    """What computes, as records write it; None is as many threads as there are cores."""
    if accelerator == "gpu":
        import torch

        return str(torch.cuda.get_device_name())
    facts = CPU_FACTS.read_text(encoding="utf-8") if CPU_FACTS.exists() else ""
    named = re.search(r"^model name\s*: *(.+)$", facts, re.MULTILINE)
    name, threads = named[1] if named else platform.machine(), threads or os.cpu_count()
    return f"{name}, {threads} CPU thread{'s' * (threads != 1)}"


@dataclass(frozen=True)
class Benchmark:
    """An entry of ``benchmark=``; ``run`` names a function, ``package.module:function``.

    The function takes the configuration and the overrides as typed, and is imported when it runs.
    """

    name: str
    config: type[BenchmarkConfig]
    run: str
    analysis: str | None = None
    """The analysis of ``analyze.py`` that reads its cells: it is run at the end."""

    def function(self) -> Any:
        """Import the function that ``run`` names."""
        return pkgutil.resolve_name(self.run)


BENCHMARKS: dict[str, Benchmark] = {}
"""Name -> entry."""


def add_benchmark(entry: Benchmark) -> None:
    """Make a benchmark known, so that ``benchmark=<name>`` can be typed.

    Raises:
        UserError: If the name is taken.
    """
    if entry.name in BENCHMARKS:
        raise UserError(f"benchmark={entry.name} is registered twice")
    BENCHMARKS[entry.name] = entry
    # a class, not a value of it: what is MISSING is given by the groups of conf/
    ConfigStore.instance().store(entry.name, open_schema(entry.config), group="schema/benchmark")
