"""The data half of ``task=reconstruction``: its settings, rows, and how they become tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loradrift.config import DataConfig, TaskConfig, check
from loradrift.config.errors import check_positive
from loradrift.tasks.spec import Encoding

if TYPE_CHECKING:
    from loradrift.data import Splits
    from loradrift.data.reconstruction import ContextRow


@dataclass(kw_only=True)
class ContextsConfig(TaskConfig):
    """How a context, a question and an answer are written, and how much of them is read."""

    max_context_tokens: int = 256
    """A longer context is cut; a row whose answer stands behind the cut is dropped."""

    max_answer_tokens: int = 16
    """Rows with a longer answer are dropped; also the most tokens that are generated."""

    shots: int = 0
    """Examples from the training split that stand before every context, as text."""

    asking: str = "\nQuestion: {question}\n"
    """What follows the context, with ``{question}`` in it."""

    anchor: str = "Answer:"
    """What stands before the answer."""

    evaluation_rows: int | None = None
    """So many rows of the reported split, drawn by ``data.seed``; null takes all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "task", "max_context_tokens", "max_answer_tokens", "evaluation_rows")
        check(self.shots >= 0, "task.shots", "at least 0", self.shots)
        rule = "a text with {question} in it, once"
        check(self.asking.count("{question}") == 1, "task.asking", rule, self.asking)
        answer, length = self.max_answer_tokens, self.max_length
        rule = f"less than task.max_length={length}, which is the row's"
        check(answer < length, "task.max_answer_tokens", rule, answer)


def load(task: ContextsConfig, data: DataConfig, cache: Path) -> Splits[ContextRow]:
    """Answerable questions on contexts."""
    from loradrift.data import data_root
    from loradrift.data.reconstruction import Layout, load_contexts

    root = None if data.name == "hub" else data_root(data, cache)
    layout = Layout(task.asking, task.anchor)
    return load_contexts(data, root, layout, task.shots, evaluation_rows=task.evaluation_rows)


def encode(task: ContextsConfig, tokenizer: Any, cache: Path) -> Encoding:
    """Each row as ``bos shots context rest answer eos``."""
    from loradrift.data.reconstruction import (
        ContextSizes,
        Layout,
        contexts_fingerprint,
        encode_contexts,
    )

    layout = Layout(task.asking, task.anchor)
    sizes = ContextSizes(task.max_length, task.max_context_tokens, task.max_answer_tokens)
    table = partial(encode_contexts, tokenizer=tokenizer, layout=layout, sizes=sizes, cache=cache)
    return Encoding(table, contexts_fingerprint(tokenizer, layout, sizes))
