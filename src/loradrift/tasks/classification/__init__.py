"""Sentence classification: ``sst2``, ``mrpc``, ``rte``, and any task in files like GLUE's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loradrift.config import Config, DataConfig, OptimConfig, TaskConfig
from loradrift.tasks.spec import Baseline, Encoding, Outcome, TaskSpec

if TYPE_CHECKING:
    from loradrift.data import Row, Splits
    from loradrift.data.glue import GlueFormat
    from loradrift.models import Backbone
    from loradrift.tasks.base import Task
    from loradrift.tasks.prepared import PreparedData


@dataclass(kw_only=True)
class GlueConfig(TaskConfig):
    """A sentence or sentence pair and one of a few labels."""

    metric: str = "accuracy"
    """``accuracy``, or ``f1``: of label 1 where there are two labels, else the mean over labels."""


def encode(task: GlueConfig, tokenizer: Any, cache: Path) -> Encoding:
    """Each row as ``bos A`` or ``bos A eos B``."""
    from loradrift.data.tokens import tokenization_fingerprint, tokenize

    table = partial(tokenize, tokenizer=tokenizer, max_length=task.max_length, cache=cache)
    return Encoding(table, tokenization_fingerprint(tokenizer, task.max_length))


def build(
    backbone: Backbone, task: GlueConfig, optim: OptimConfig, data: PreparedData, seed: int
) -> Task:
    """A linear head on the last token, with as many classes as there are labels."""
    from loradrift.models import Classifier
    from loradrift.tasks.classification.module import ClassificationTask

    backbone.freeze_output_head()
    classes = 1 + max(int(table.labels.max()) for table in data.tables.values())
    return ClassificationTask(Classifier(backbone, max(2, classes), seed=seed), optim)


def glue_task(name: str, label: str, form: GlueFormat | None = None) -> TaskSpec:
    """``task=<name>`` in files like GLUE's, which reports call ``label``.

    ``form`` gives columns and labels of the files; None where ``data.FORMATS`` has them.
    """

    def known() -> GlueFormat:
        from loradrift.data import FORMATS

        return FORMATS[name] if form is None else form

    def load(task: GlueConfig, data: DataConfig, cache: Path) -> Splits[Row]:
        from loradrift.data import load_glue

        return load_glue(name, data, cache, known())

    def predict(
        config: Config, data: PreparedData, rows: Sequence[Row], backbone: Backbone | None
    ) -> Outcome:
        from loradrift.tasks.classification.baselines import predict_labels

        return predict_labels(known(), config, data, rows, backbone)

    return TaskSpec(
        name=name,
        label=label,
        config=GlueConfig,
        metrics={"accuracy": True, "f1": True},
        overfit_steps=150,  # twice what the small model needs to overfit a hundred sentences
        load=load,
        encode=encode,
        build=build,
        baselines=dict.fromkeys(("majority", "random"), Baseline(predict))
        | {"zero_shot": Baseline(predict, needs_model=True)},
    )


SPECS = (glue_task("sst2", "SST-2"), glue_task("mrpc", "MRPC"), glue_task("rte", "RTE"))
