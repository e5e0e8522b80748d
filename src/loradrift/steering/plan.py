"""From a configuration to a cell that can be measured: model, dose, questions, identity."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loradrift.config import ModelConfig, UserError
from loradrift.config.errors import check, excerpt, one_of
from loradrift.steering.answers import Asked
from loradrift.steering.config import SteeringBenchmarkConfig, SteeringCostConfig
from loradrift.steering.door import PLAIN_ARMS
from loradrift.steering.doses import Dose, Material, make_dose
from loradrift.steering.elsewhere import Continued, Source, TaskRow, neutral_rows, task_rows
from loradrift.steering.standing import (
    Base,
    Standing,
    certified_changes,
    find_base,
    find_standing,
    finished_training,
)

if TYPE_CHECKING:
    from loradrift.steering.directions import Direction
    from loradrift.weights import Changes


@dataclass(frozen=True)
class Plan:
    """A cell that can be measured."""

    standing: Standing
    dose: Dose
    asked: Sequence[Asked]
    plain: Sequence[Asked]
    """The same without a dose's instructions."""

    neutral: Sequence[Continued]
    task: Sequence[TaskRow]
    tokenizer: Any
    identity: dict[str, Any]
    """What makes two cells the same."""

    fingerprints: dict[str, str]
    certificate: dict[str, Any] | None
    """Of the direction; None without one."""

    @property
    def longest_prompt(self) -> int:
        """Most tokens of a question's prompt."""
        return max(len(each.prompt_ids) for each in self.asked)

    @property
    def longest_row(self) -> int:
        """Most tokens of a row of neutral text or of the task, instructions included."""
        rows = [*self.neutral, *(x for row in self.task for x in row.answers)]
        return max((len(row.prompt_ids) + len(row.target_ids) for row in rows), default=0)


def prepare(config: SteeringBenchmarkConfig) -> Plan:
    """Find the model, make the dose and the questions.

    Raises:
        UserError: If something is missing, or does not go together.
    """
    from loradrift.data import data_root
    from loradrift.data.persona import read_trait
    from loradrift.data.tokens import token_ids
    from loradrift.models import load_tokenizer

    steering, cache = config.steering, Path(config.cache)
    root = data_root(config.data, cache)
    also = {f"steering.also.{trait}": trait for trait in steering.also}
    check_traits(root, {"trait": config.trait} | also)
    instructed = read_trait(root, config.trait, "traits")
    base = find_base(config)
    standing = find_standing(base, steering.run)
    needed = [] if config.arm in PLAIN_ARMS else [config.trait, *steering.also]
    directions = {trait: own_direction(config, trait, base) for trait in needed}
    material = Material(
        tuple(each.pos for each in instructed.instructions),
        tuple(each.neg for each in instructed.instructions),
        directions,
        num_blocks(base),
        _positive(directions[config.trait], base) if config.arm == "weight_positive" else {},
    )
    dose = make_dose(config, material)
    tokenizer = load_tokenizer(ModelConfig(name="local", path=str(base.folder)))
    there = read_trait(root, config.trait, "traits_eval").questions
    if seen := [question for question in there if question in instructed.questions]:
        raise UserError(
            f"{len(seen)} questions of persona/traits_eval/{config.trait}.json are in "
            f"persona/traits/{config.trait}.json too, which adapters train on: {excerpt(seen[0])}"
        )
    wanted = len(there) if steering.questions is None else steering.questions
    check(wanted <= len(there), "steering.questions", f"at most {len(there)}", wanted)
    questions = there[:wanted]
    texts = " ".join(dose.instructions)
    before = token_ids(tokenizer, [texts])[0] if texts else []
    source = Source(config.data, cache, tokenizer, before)
    neutral = neutral_rows(source, steering.neutral_rows)
    task = [] if steering.task is None else task_rows(steering.task, source, steering.task_rows)
    fingerprints = {
        "base_model": base.fingerprint,
        "questions": _digest(questions),
        "neutral_text": _digest([(row.id, row.target_ids) for row in neutral]),
        "task_rows": _digest([(row.id, [x.target_ids for x in row.answers]) for row in task]),
    }
    digests = {trait: _digest(each.facts["sha256"]) for trait, each in directions.items()}
    if digests:
        fingerprints["direction"] = digests[config.trait]
    return Plan(
        standing,
        dose,
        ask(config, questions, tokenizer, dose.instructions),
        ask(config, questions, tokenizer, ()),
        neutral,
        task,
        tokenizer,
        _identity(config, standing, digests, fingerprints),
        fingerprints,
        directions[config.trait].facts["certificate"] if directions else None,
    )


def check_traits(root: Path, typed: Mapping[str, str]) -> None:
    """Raise a UserError if the trait that was typed for a key is not below ``root``."""
    from loradrift.data.persona import traits_of

    known = traits_of(root)
    for key, trait in typed.items():
        if trait not in known:
            raise UserError(f"{key} must be {one_of(known)}, got {trait}")


def own_direction(
    config: SteeringBenchmarkConfig | SteeringCostConfig, trait: str, base: Base
) -> "Direction":
    """The direction of a trait, which is one of the base model's.

    Raises:
        UserError: If there is none, it is another trait's or another model's, or it has no
            certificate.
    """
    from loradrift.steering.directions import find_direction, read_direction

    steering = config.steering
    if steering.direction and trait == config.trait:
        direction = read_direction(Path(steering.direction))
        if direction.trait != trait:
            raise UserError(
                f"steering.direction={steering.direction} is a direction of {direction.trait}, got "
                f"trait={trait}"
            )
    else:
        seed = steering.direction_seed
        direction = find_direction(Path(config.results), steering.study, trait, seed)
    own = direction.facts["base"]
    if own.get("fingerprint") != base.fingerprint:
        named = f"{own.get('path')} (digest {str(own.get('fingerprint'))[:12]})"
        raise UserError(
            f"{direction.folder} is a direction of {named}, and {base} is another model: a "
            "direction of one is none of the other"
        )
    return direction


def _positive(direction: "Direction", base: Base) -> "Changes":
    """The changes of the positive adapter alone, by its run's own certificate.

    Raises:
        UserError: If the run has vanished, or is not the one that the direction was made of.
    """
    what = f"arm=weight_positive takes the positive run of {direction.folder}"
    folder = Path(direction.facts["positive"]["run"])
    record = finished_training(folder, what)
    changes, digests = certified_changes(folder, record, base, what)
    if direction.facts["positive"]["sha256"] != digests:
        raise UserError(f"{what}: {folder} has been trained anew since; make the direction again")
    return changes


def num_blocks(base: Base) -> int:
    """How many blocks a model has."""
    from loradrift.weights.stored import read_json

    config = read_json(base.folder / "config.json")
    return int(config.get("text_config", config)["num_hidden_layers"])


def ask(
    config: SteeringBenchmarkConfig,
    questions: Sequence[str],
    tokenizer: Any,
    instructions: Sequence[str],
) -> list[Asked]:
    """Each question, as often as it is answered."""
    from loradrift.data.persona import prompt_ids

    prompts = [tuple(prompt_ids(tokenizer, each, instructions)) for each in questions]
    return [
        Asked(f"{config.trait}/{number}/{sample}", question, sample, prompt)
        for number, (question, prompt) in enumerate(zip(questions, prompts, strict=True))
        for sample in range(config.steering.samples)
    ]


def _identity(
    config: SteeringBenchmarkConfig,
    standing: Standing,
    directions: Mapping[str, str],
    fingerprints: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "benchmark": config.benchmark,
        "engine": config.engine,
        "model": asdict(config.model),
        "data": asdict(config.data),
        "trainer": {"accelerator": config.trainer.accelerator, "threads": config.trainer.threads},
        "seed": config.seed,
        "trait": config.trait,
        "arm": config.arm,
        "coefficient": config.coefficient,
        "steering": asdict(config.steering),
        "directions": dict(directions),
        "standing": dict(standing.digests),
        "fingerprints": dict(fingerprints),
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
