"""Typed configuration: YAML picks values, these classes decide which values are legal.

Hydra composes a ``DictConfig``; :func:`load` turns it into these dataclasses once, at the door.
Nothing behind that door sees OmegaConf. Every message names the key as typed, the rule and the
value.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from loradrift.config.analysis import AnalysisConfig, AnalyzeConfig
from loradrift.config.benchmarks import BENCHMARK_COORDINATES, BenchmarkConfig
from loradrift.config.callbacks import CallbacksConfig
from loradrift.config.errors import UserError, check, one_of, refuse_extras, refuse_missing
from loradrift.config.keys import OBSERVERS, identity
from loradrift.config.methods import (
    METHODS,
    BaselineConfig,
    FromScratchConfig,
    FullFinetuneConfig,
    HeadOnlyConfig,
    LoraConfig,
    MethodConfig,
    OptimConfig,
    TrainedConfig,
)
from loradrift.config.models import ModelConfig, SmolLM2Config, TinyModelConfig
from loradrift.config.running import (
    DataConfig,
    LoggerConfig,
    ScaleConfig,
    TrainerConfig,
    fast_precision,
)
from loradrift.config.studies import PHASES, PRUNERS, RUN_PHASES, SearchConfig, StudyConfig
from loradrift.config.tasks import TASKS, PretrainConfig, TaskConfig, TaskFacts, pretraining_steps
from loradrift.config.values import check_seed, folder_field, judge_values, path_field
from loradrift.config.variants import earlier_variant, folder_name, variant

__all__ = [
    "METHODS", "OBSERVERS", "PHASES", "PRUNERS", "TASKS", "AnalysisConfig", "AnalyzeConfig",
    "BaselineConfig", "BenchmarkConfig", "CallbacksConfig", "Config", "DataConfig",
    "FromScratchConfig", "FullFinetuneConfig", "LoggerConfig", "LoraConfig", "MethodConfig",
    "ModelConfig", "OptimConfig", "PretrainConfig", "ScaleConfig", "SearchConfig", "StudyConfig",
    "TaskConfig", "TaskFacts", "TinyModelConfig", "TrainedConfig", "TrainerConfig", "UserError",
    "check", "identity", "load", "load_analysis", "load_benchmark", "option_schemas", "register",
]  # fmt: skip


@dataclass(kw_only=True)
class Config:
    """One run: one cell of (study, task, method, variant, seed)."""

    study: StudyConfig = field(default_factory=StudyConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    task: TaskConfig = MISSING
    method: MethodConfig = MISSING
    model: ModelConfig = MISSING
    data: DataConfig = MISSING
    trainer: TrainerConfig = MISSING
    logger: LoggerConfig = MISSING
    callbacks: CallbacksConfig = field(default_factory=CallbacksConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    seed: int = 0
    """Draws the new weights, the batch order and dropout."""

    variant: str = ""
    """Filled in at the door: whatever else was overridden."""

    earlier_variant: str | None = None
    """Filled in at the door: what an earlier version called the variant."""

    start: dict[str, Any] = field(default_factory=dict)
    """Filled in at the door where ``model.path`` is a run: ``run``, its folder as typed; ``chain``,
    the coordinates of the runs up to it; ``weights``, a digest of what it left."""

    phase: str = ""
    """What the run is for; a study, a search and ``experiment=overfit`` fill it in."""

    runs: str = folder_field("runs")
    """Folder of all runs."""

    results: str = folder_field("results")
    """Folder of what is made of them; a search writes its best values there."""

    cache: str = folder_field(".cache")
    """Folder of everything that can be made again: corpora, tokens, the small model."""

    best: bool | str = path_field(False)
    """``true`` takes the best values of the study's search for this task and method, a path those
    of a file; explicit overrides take precedence."""

    force: bool = False
    """Archive what the cell holds and start anew, unless it is finished and the same."""

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        task, method = self.task.facts, self.method
        baseline = isinstance(method, BaselineConfig)
        own = "rounding" if self.trainer.rounding else "production"
        own = "base" if task.from_scratch else "baselines" if baseline else own
        self.phase = self.phase or own
        check(self.phase in RUN_PHASES, "phase", one_of(RUN_PHASES), self.phase)
        if task.from_scratch != isinstance(method, FromScratchConfig):
            raise UserError(
                "task=pretrain and method=from_scratch belong together, got "
                f"task={task.name} method={method.name}"
            )
        if baseline and method.name not in task.baselines:
            raise UserError(f"method={method.name} is not for task={task.name}")
        training = self.task.min_train_accuracy, self.trainer.rounding
        keys = ("task.min_train_accuracy", "trainer.rounding")
        for key, value in zip(keys, training, strict=True):
            if baseline and value:
                no_effect = f"has no effect on method={method.name}, which does not train"
                raise UserError(f"{key} {no_effect}")
        if self.trainer.sharded:
            folder = self.callbacks.persona_monitor.directions
            rule = "left out with trainer=fsdp, where no process has all weights"
            check(not folder, "callbacks.persona_monitor.directions", rule, folder)
        if isinstance(method, HeadOnlyConfig) and not task.head:
            nothing = f"method=head_only would train nothing of task={task.name}"
            raise UserError(f"{nothing}, which puts no head on the backbone")
        self.task.check_run(self)
        if isinstance(self.model, TinyModelConfig):
            if task.corpus != "general":
                self.model.pretraining.task.corpus = task.corpus
            length, positions = self.task.max_length, self.model.max_positions
            rule = f"at most model.max_positions={positions}"
            check(length <= positions, "task.max_length", rule, length)

    @property
    def cell(self) -> Path:
        """The run's directory, which is the cell's coordinates.

        It is the one of an earlier version's name where that is there and the present one is not.
        """
        place, method = Path(self.runs, self.study.name, self.task.name), self.method.name
        names = [folder_name(method, self.variant)]
        if self.earlier_variant:
            names.append(f"{method},{self.earlier_variant}")
        folders = [place / name / f"seed={self.seed}" for name in names]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    @property
    def cell_name(self) -> str:
        """The cell below ``runs``, for messages."""
        return str(self.cell.relative_to(self.runs))


SCHEMAS: tuple[tuple[str, str, type], ...] = (
    ("model", "model", ModelConfig),
    ("model", "tiny", TinyModelConfig),
    ("model", "smollm2", SmolLM2Config),
    ("data", "data", DataConfig),
    ("trainer", "trainer", TrainerConfig),
    ("logger", "logger", LoggerConfig),
)
"""Groups without a registry, and the names and classes of what judges their options."""


def option_schemas() -> set[tuple[str, type]]:
    """Each group and a class that judges its options."""
    tasks = {("task", facts.config) for facts in TASKS.values()}
    methods = {("method", facts.config) for facts in METHODS.values()}
    return {(group, schema) for group, _, schema in SCHEMAS} | tasks | methods


def register() -> None:
    """Make the schemas visible to the defaults lists in ``conf/``, and its resolvers to Hydra.

    ``${home:…}`` is for Hydra, which makes folders of its own before :func:`load` is called.
    """
    OmegaConf.register_resolver("home", os.path.expanduser, replace=True)
    OmegaConf.register_resolver("fast_precision", fast_precision, replace=True)
    OmegaConf.register_resolver("pretraining_steps", pretraining_steps, replace=True)
    store = ConfigStore.instance()
    store.store(name="config_schema", node=Config)
    for group, name, schema in SCHEMAS:
        # apart from the options, so that completion offers those alone
        store.store(group=f"schema/{group}", name=name, node=schema)


def load(cfg: DictConfig, overrides: Sequence[str] = ()) -> Config:
    """Convert the composed config of ``train.py`` into dataclasses, running every check.

    The overrides, as typed, name the variant.

    Raises:
        UserError: If a value is illegal; the message names key, rule and value.
        omegaconf.errors.MissingMandatoryValue: If a required value is absent.
    """
    refuse_missing(cfg, "train.py")
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, Config)
    refuse_extras(config, "")
    judge_values(config)
    config.model = config.model.located(Path(config.cache))
    config.variant, config.earlier_variant = variant(overrides), earlier_variant(overrides)
    return config


def load_analysis(cfg: DictConfig) -> AnalyzeConfig:
    """Convert the composed config of ``analyze.py``, running every check.

    Raises:
        UserError: If a value is missing or illegal; the message names key, rule and value.
    """
    schema: Any = OmegaConf.get_type(cfg)
    try:
        return cast(AnalyzeConfig, _judged(cfg, f"analysis={cfg.analysis.name}"))
    except UserError as error:
        error.exit_code = schema.exit_code
        raise


def load_benchmark(cfg: DictConfig, overrides: Sequence[str] = ()) -> BenchmarkConfig:
    """Convert the composed config of ``benchmark.py``, running every check.

    The overrides, as typed, name the variant.

    Raises:
        UserError: If a value is missing or illegal; the message names key, rule and value.
    """
    config = cast(BenchmarkConfig, _judged(cfg, f"benchmark={cfg.benchmark}"))
    config.model = config.model.located(Path(config.cache))
    config.variant = variant(overrides, BENCHMARK_COORDINATES)
    return config


def _judged(cfg: DictConfig, chosen: str) -> Any:
    """The dataclass of a composed config whose fields without a default must be given."""
    refuse_missing(cfg, chosen)
    config: Any = OmegaConf.to_object(cfg)
    refuse_extras(config, "")
    judge_values(config)
    return config
