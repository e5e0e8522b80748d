"""``task=pretrain``: next-token prediction from random weights, which makes ``model=tiny``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loradrift.config import DataConfig, OptimConfig, PretrainConfig
from loradrift.tasks.spec import Encoding, TaskSpec

if TYPE_CHECKING:
    from loradrift.data import Row, Splits
    from loradrift.models import Backbone
    from loradrift.tasks.base import Task
    from loradrift.tasks.prepared import PreparedData


def load(task: PretrainConfig, data: DataConfig, cache: Path) -> Splits[Row]:
    """Documents."""
    from loradrift.data import load_corpus

    return load_corpus(data, cache, task.corpus)


def encode(task: PretrainConfig, tokenizer: Any, cache: Path) -> Encoding:
    """Each document as ``bos text eos``, in rows."""
    from loradrift.data.tokens import tokenization_fingerprint, tokenize_documents

    length = task.max_length
    rows = partial(tokenize_documents, tokenizer=tokenizer, max_length=length, cache=cache)
    return Encoding(rows, tokenization_fingerprint(tokenizer, length))


def build(
    backbone: Backbone, task: PretrainConfig, optim: OptimConfig, data: PreparedData, seed: int
) -> Task:
    """The language model itself."""
    from loradrift.tasks.language_modeling import LanguageModelingTask

    return LanguageModelingTask(backbone, optim)


SPEC = TaskSpec(
    name="pretrain",
    label="pretraining",
    config=PretrainConfig,
    metrics={"loss": False},
    from_scratch=True,
    head=False,
    load=load,
    encode=encode,
    build=build,
)
