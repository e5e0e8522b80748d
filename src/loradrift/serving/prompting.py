"""The prompts of a cell: rows of the tasks' own evaluation splits, or drawn tokens."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from loradrift.config import TASKS, DataConfig, ModelConfig, TaskConfig, UserError
from loradrift.serving.bases import Base
from loradrift.serving.choice import Source
from loradrift.serving.config import ServingBenchmarkConfig
from loradrift.serving.plan import Prompt

POOL = 32
"""Prompts, of which each round draws its own; as many as the largest batch, if that is larger."""

ANY_TASKS = ("sst2", "mrpc", "rte")
"""Whose rows adapters answer that no run has trained."""


def make_prompts(
    config: ServingBenchmarkConfig, sources: Sequence[Source], base: Base
) -> list[Prompt]:
    """The pool of prompts, evenly of all tasks, drawn by ``seed``.

    Raises:
        UserError: If the rows of a task cannot be read.
    """
    from loradrift.models import load_tokenizer
    from loradrift.tasks import spec_of

    serving, cache = config.serving, Path(config.cache)
    size = max(POOL, *serving.batch_sizes)
    tokenizer = load_tokenizer(ModelConfig(name="local", path=base.path))
    if serving.prompts == "fixed":
        return _drawn(size, serving.prompt_length, config.seed, base, tokenizer)
    readings = list(_readings(config, sources))
    prompts: list[Prompt] = []
    for place, (task, data) in enumerate(readings):
        share = len(range(place, size, len(readings)))
        draw = random.Random(config.seed)
        rows = spec_of(task).load(task, data, cache).evaluation
        some = draw.sample(rows, min(4 * share, len(rows)))
        table = spec_of(task).encode(task, tokenizer, cache).encode(some)
        for i in draw.sample(range(len(table)), min(share, len(table))):
            ids = tuple(map(int, table.row(i)[: serving.prompt_length]))
            prompts.append(Prompt(ids, task.name, table.ids[i]))
    return prompts


def prompt_data(config: ServingBenchmarkConfig, sources: Sequence[Source]) -> str | None:
    """Whose rows the prompts are: ``generated``, ``real`` or both; None of drawn tokens."""
    if config.serving.prompts == "fixed":
        return None
    return " and ".join(sorted({origin(data.name) for _, data in _readings(config, sources)}))


def origin(data: str) -> str:
    """Whether the rows of ``data=<name>`` are made here, or people's.

    Example:
        >>> origin("embedded"), origin("hub")
        ('generated', 'real')
    """
    return "generated" if data == "embedded" else "real"


def fingerprint(prompts: Sequence[Prompt]) -> str:
    """Digest (sha256) of all prompts."""
    text = json.dumps([asdict(prompt) for prompt in prompts])
    return hashlib.sha256(text.encode()).hexdigest()


def _readings(
    config: ServingBenchmarkConfig, sources: Sequence[Source]
) -> Iterator[tuple[TaskConfig, DataConfig]]:
    """Each task as its first run has read it; where there is no run, some tasks of ``data``."""
    runs: dict[str, Source] = {}
    for source in sources:
        if source.run is not None:
            runs.setdefault(str(source.run.coordinates["task"]), source)
    for name, source in runs.items():
        assert source.run is not None
        stored = source.run.config
        try:
            yield TASKS[name].config(**stored["task"]), DataConfig(**stored["data"])
        except (LookupError, TypeError) as error:
            raise UserError(
                f"{source.folder / 'run.json'}: its rows cannot be read by this version "
                f"({error}); serving.prompts=fixed needs none"
            ) from None
    if not runs:
        for name in ANY_TASKS:
            length = config.serving.prompt_length
            yield TASKS[name].config(name=name, max_length=length, max_steps=1), config.data


def _drawn(size: int, length: int, seed: int, base: Base, tokenizer: Any) -> list[Prompt]:
    """Tokens that no text has given, each prompt of the same length."""
    from loradrift.data.tokens import special_ids
    from loradrift.models import load_architecture, num_embeddings

    model = ModelConfig(name="local", path=base.path)
    special = set(tokenizer.all_special_ids)
    known = min(len(tokenizer), num_embeddings(load_architecture(model)))
    plain = np.array([token for token in range(known) if token not in special])
    bos, _ = special_ids(tokenizer)
    draws = np.random.default_rng(seed)
    drawn = (draws.choice(plain, size=length - len(bos[:length])) for _ in range(size))
    return [Prompt((*bos[:length], *map(int, ids)), "fixed", str(i)) for i, ids in enumerate(drawn)]
