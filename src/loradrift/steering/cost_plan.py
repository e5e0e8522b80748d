"""What ``benchmark=steering_cost`` measures: the model, the direction, the prompts, the calls."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradrift.config import ModelConfig, UserError
from loradrift.generation.base import EngineSettings, Intervention, Request, Sampling
from loradrift.generation.settings import text_config
from loradrift.steering.config import SteeringCostConfig
from loradrift.steering.doses import vector_dose
from loradrift.steering.plan import check_traits, num_blocks, own_direction
from loradrift.steering.standing import Base, find_base

COST_ARMS = ("base", "merged", "adapter", "hook")
"""The model as it is; the direction in its weights, beside them (PEFT), and its vectors added."""

ADAPTER = "direction"


@dataclass(frozen=True)
class CostPlan:
    """What is measured."""

    base: Base
    folder: Path
    """The direction's."""

    facts: dict[str, Any]
    """Its ``direction.json``."""

    prompts: Sequence[tuple[int, ...]]
    interventions: tuple[Intervention, ...]
    accelerator: str
    threads: int | None
    max_tokens: int
    batch_sizes: tuple[int, ...]
    seed: int

    def settings(self, *, adapter: bool) -> EngineSettings:
        """The engine of an arm."""
        length = max(map(len, self.prompts)) + self.max_tokens
        positions = text_config(self.base.folder).get("max_position_embeddings") or length
        if positions < length:
            most = self.max_tokens - (length - positions)
            raise UserError(
                f"steering.max_tokens must be at most {most}, which the {positions} positions of "
                f"the model leave, got {self.max_tokens}"
            )
        return EngineSettings(
            self.base.folder,
            {ADAPTER: self.folder / "adapter"} if adapter else {},
            accelerator=self.accelerator,
            threads=self.threads,
            max_length=length,
        )

    def requests(self, arm: str, batch: int) -> list[Request]:
        """The same prompts for every arm; a larger batch begins alike."""
        adapter = ADAPTER if arm == "adapter" else None
        added = self.interventions if arm == "hook" else ()
        prompts = [self.prompts[i % len(self.prompts)] for i in range(batch)]
        return [Request(str(i), prompt, adapter, added) for i, prompt in enumerate(prompts)]

    def calls(self, round: int) -> list[tuple[str, int]]:
        """Every arm at every batch size, in an order of the round's own."""
        calls = [(arm, batch) for arm in COST_ARMS for batch in self.batch_sizes]
        random.Random(f"{self.seed} {round}").shuffle(calls)
        return calls

    @property
    def sampling(self) -> Sampling:
        """All of ``max_tokens``, the likeliest each."""
        return Sampling(max_tokens=self.max_tokens)


def make_plan(config: SteeringCostConfig) -> CostPlan:
    """Find the model, the direction and the prompts.

    Raises:
        UserError: If something is missing, or does not go together.
    """
    from loradrift.data import data_root
    from loradrift.data.persona import prompt_ids, read_trait
    from loradrift.models import load_tokenizer

    root = data_root(config.data, Path(config.cache))
    check_traits(root, {"trait": config.trait})
    base = find_base(config)
    direction = own_direction(config, config.trait, base)
    tokenizer = load_tokenizer(ModelConfig(name="local", path=str(base.folder)))
    questions = read_trait(root, config.trait, "traits_eval").questions
    vectors = [(direction.vectors[config.steering.vector], 1.0)]
    return CostPlan(
        base,
        direction.folder,
        dict(direction.facts),
        [tuple(prompt_ids(tokenizer, question)) for question in questions],
        vector_dose(config.steering, vectors, num_blocks(base)).interventions,
        config.trainer.accelerator,
        config.trainer.threads,
        config.steering.max_tokens,
        tuple(sorted(config.batch_sizes)),
        config.seed,
    )
