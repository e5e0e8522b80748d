"""How a task's rows become tokens that its model takes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.config import Config, ModelConfig, PretrainConfig, SquadConfig, TaskConfig, UserError
from loradrift.data import (
    Collator,
    Rows,
    SpanCollator,
    WindowSizes,
    make_windows,
    tokenization_fingerprint,
    tokenize,
    tokenize_documents,
    windows_fingerprint,
)


class Encoding(NamedTuple):
    """How a task's rows become tokens and batches."""

    encode: Callable[[list[Any]], Rows]
    collator: type[Collator]
    fingerprint: str


def choose_encoding(task: TaskConfig, tokenizer: Any, cache: Path) -> Encoding:
    """The one that belongs to the task."""
    if isinstance(task, SquadConfig):
        sizes = WindowSizes(task.max_length, task.stride, task.max_question)
        windows = partial(make_windows, tokenizer=tokenizer, sizes=sizes, cache=cache)
        return Encoding(windows, SpanCollator, windows_fingerprint(tokenizer, sizes))
    encode = tokenize_documents if isinstance(task, PretrainConfig) else tokenize
    return Encoding(
        partial(encode, tokenizer=tokenizer, max_length=task.max_length, cache=cache),
        Collator,
        tokenization_fingerprint(tokenizer, task.max_length),
    )


def num_positions(model: ModelConfig) -> int | None:
    """The longest row that the model takes; None if its architecture sets no limit."""
    from transformers import AutoConfig

    return getattr(AutoConfig.from_pretrained(model.path), "max_position_embeddings", None)


def check_length(config: Config, model: ModelConfig) -> None:
    """Refuse rows longer than the model's positions.

    Raises:
        UserError: If ``task.max_length`` is larger.
    """
    positions = num_positions(model)
    if positions is not None and config.task.max_length > positions:
        raise UserError(
            f"task.max_length must be at most the {positions} positions of {model.path}, "
            f"got {config.task.max_length}"
        )
