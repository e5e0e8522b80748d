"""The keys of ``benchmark=steering`` and ``benchmark=steering_cost``."""

import math
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from omegaconf import MISSING

from loradrift.config.benchmarks import BenchmarkConfig
from loradrift.config.errors import UserError, check, check_option, check_positive
from loradrift.config.models import ModelConfig, TinyModelConfig
from loradrift.config.values import check_seed, path_field
from loradrift.judges.config import JudgeConfig

ARMS = (
    "none", "prompt", "activation", "weight", "weight_positive", "bias_only", "random_weight",
    "random_activation",
)  # fmt: skip
"""The ways to steer; ``none`` is the model as it is."""

VECTORS = ("response_avg", "prompt_avg", "prompt_last")
"""Over which tokens a trait's activation vectors are averaged."""

POSITIONS = ("all", "prompt", "response")
"""Where the activation arms add them."""

MOST_INSTRUCTIONS = 5
"""Instruction pairs of a trait: the prompt arm's dose counts them."""


@dataclass(kw_only=True)
class DirectionConfig:
    """Which direction is taken, and what is measured beside the answers."""

    study: str = "main"
    """Whose directions are used: those below ``<results>/persona/directions/<study>``."""

    direction_seed: int = 0
    """The seed of the runs whose difference the direction is."""

    direction: str = path_field("")
    """Folder of a direction, instead of the study's own."""

    vector: str = "response_avg"
    """``response_avg``, ``prompt_avg`` or ``prompt_last``: the tokens that vectors average."""

    layers: list[int] = field(default_factory=list)
    """Blocks to whose output vectors are added, each its own; [] is the middle one."""

    positions: str = "all"
    """``all`` tokens, those of the ``prompt``, or ``response``: where an answer's tokens are
    chosen."""

    max_tokens: int = 48
    """Most tokens of an answer."""

    def __post_init__(self) -> None:
        check_seed("steering.direction_seed", self.direction_seed)
        check_option(self, "steering.vector", *VECTORS)
        check_option(self, "steering.positions", *POSITIONS)
        for layer in self.layers:
            check(layer >= 0, "steering.layers", "0 or more", layer)
        different = len(set(self.layers)) == len(self.layers)
        check(different, "steering.layers", "different", self.layers)
        check_positive(self, "steering", "max_tokens")


@dataclass(kw_only=True)
class SteeringConfig(DirectionConfig):
    """What a steered model is asked, and what steering costs it elsewhere."""

    questions: int | None = 20
    """How many of the trait's evaluation questions are asked, from the first on; null is all."""

    samples: int = 1
    """Answers to each question."""

    temperature: float = 0.0
    """0 takes the likeliest token; above it, one question's answers differ."""

    batch_size: int = 10
    """Answers at a time, in an order that does not change; what is done is kept batch by batch."""

    run: str = path_field("")
    """Folder of a finished run, whose weights stand instead of the base model's."""

    also: dict[str, float] = field(default_factory=dict)
    """Further traits and their coefficients, all together: ``steering.also={humorous:0.25}``."""

    neutral_rows: int = 16
    """Rows of text of no task, on the second half of which the loss is measured; 0 for none."""

    task: str | None = "sst2"
    """A classification task that the model is asked without an example; null for none."""

    task_rows: int = 100
    """Rows of that task's evaluation split, drawn by ``data.seed``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "steering", "questions", "samples", "batch_size", "task_rows")
        check(self.neutral_rows >= 0, "steering.neutral_rows", "0 or more", self.neutral_rows)
        temperature = self.temperature
        check(temperature >= 0, "steering.temperature", "0 or more", temperature)
        if self.samples > 1 and temperature == 0:
            raise UserError(
                f"steering.samples must be 1 with steering.temperature=0, by which all answers to "
                f"a question are equal, got {self.samples}"
            )
        for trait, coefficient in self.also.items():
            key = f"steering.also.{trait}"
            check(isfinite(coefficient), key, "a finite number", coefficient)


@dataclass(kw_only=True)
class SteeringBenchmarkConfig(BenchmarkConfig):
    """A trait's questions, answered by a model that one arm steers by one coefficient."""

    benchmark: str = "steering"
    engine: str = "hf"
    """``hf``: the other engines cannot change what a model computes."""

    trait: str = field(default=MISSING, metadata={"kind": "one of the traits below persona/traits"})
    """Whose questions are asked, and which trait is steered."""

    arm: str = field(default=MISSING, metadata={"kind": "|".join(ARMS)})
    """``none``; ``prompt``, the trait's instructions; ``activation``, h + c v; ``weight``,
    W + c dW; ``weight_positive``, the positive adapter alone; ``bias_only``, the part of dW that
    does not depend on the input; ``random_weight`` and ``random_activation``, as large as those."""

    coefficient: float = 0.0
    """The dose; 0 is the model as it is. Of ``prompt``, 1 is all five instructions, and -1 those
    against the trait."""

    steering: SteeringConfig = field(default_factory=SteeringConfig)
    judge: JudgeConfig = MISSING
    """Who scores the answers once they are there; it can be done again (``benchmark=judging``)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_hf(self)
        know_personas(self.model)
        check_option(self, "arm", *ARMS)
        arm, dose = self.arm, self.coefficient
        if arm == "none":
            check(dose == 0, "coefficient", "0 with arm=none", dose)
        if arm == "prompt":
            check(-1 <= dose <= 1, "coefficient", "from -1 to 1 with arm=prompt", dose)
            count = dose * MOST_INSTRUCTIONS
            rule = (
                f"a multiple of {1 / MOST_INSTRUCTIONS:g} with arm=prompt: instructions are whole"
            )
            check(math.isclose(count, round(count), abs_tol=1e-9), "coefficient", rule, dose)
        if self.trait in self.steering.also:
            raise UserError(
                f"steering.also.{self.trait} is the trait that coefficient={dose:g} steers: "
                "another trait is given there"
            )


@dataclass(kw_only=True)
class SteeringCostConfig(BenchmarkConfig):
    """Time and memory for each token of the two ways to steer, against the model as it is."""

    benchmark: str = "steering_cost"
    engine: str = "hf"
    """``hf``: the other engines cannot change what a model computes."""

    trait: str = field(default=MISSING, metadata={"kind": "a trait that has a direction"})
    """Whose direction is used."""

    steering: DirectionConfig = field(default_factory=DirectionConfig)
    batch_sizes: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16])
    """Prompts at a time."""

    rounds: int = 5
    """How often each arm answers at each batch size; the order of the arms is drawn anew."""

    memory: bool = True
    """Measure resident memory too, in a process of its own for each arm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_hf(self)
        know_personas(self.model)
        check(self.rounds > 0, "rounds", "positive", self.rounds)
        check(bool(self.batch_sizes), "batch_sizes", "at least one number", [])
        for size in self.batch_sizes:
            check(size > 0, "batch_sizes", "positive", size)
        different = len(set(self.batch_sizes)) == len(self.batch_sizes)
        check(different, "batch_sizes", "different", self.batch_sizes)


def check_hf(config: Any) -> None:
    """Refuse an engine that cannot change what the model computes."""
    rule = f"hf with benchmark={config.benchmark}: no other engine changes a model's states"
    check(config.engine == "hf", "engine", rule, config.engine)


def know_personas(model: ModelConfig) -> None:
    """Have the small model be the one that knows the generated personas, as task=persona does."""
    if isinstance(model, TinyModelConfig):
        model.pretraining.task.corpus = "persona"
