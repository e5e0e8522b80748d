"""What one process has at hand while it computes its part of a cell."""

from dataclasses import dataclass

import torch

from loradrift.config import Config, TrainedConfig
from loradrift.data import ALONE, EvaluationBatches, Rows, Share
from loradrift.progress import announced
from loradrift.runs import Cell
from loradrift.stopwatch import Seconds
from loradrift.tasks.base import Task
from loradrift.tasks.language_modeling import LanguageModelingTask
from loradrift.tasks.prepared import PreparedData
from loradrift.training.build import build_evaluator

NEUTRAL_ROWS = 16
"""Rows of neutral text at a time: scores of a whole vocabulary for each token are large."""


@dataclass(frozen=True)
class Worker:
    """One process's part in computing a cell."""

    config: Config
    cell: Cell
    data: PreparedData
    began: Seconds
    """When this process took up the cell, later by what it took to make the base model."""

    share: Share = ALONE

    @property
    def first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.share.rank == 0

    @property
    def reports(self) -> bool:
        """Whether the reported split is evaluated: a search's trial never sees it."""
        return self.config.search.trial is None

    def evaluation_batches(self, table: Rows) -> EvaluationBatches:
        """All rows of ``table``, in batches twice as large as in training, which keeps less."""
        size = 2 * self.config.task.batch_size
        return EvaluationBatches(table, self.data.collate, batch_size=size, share=self.share)

    def forgetting(self, when: str, task: Task) -> dict[str, float]:
        """How well the backbone still predicts text of no task, with its language-modelling head.

        Modes and random state are afterwards what they were.

        Args:
            when: ``before`` or ``after`` training.
            task: Holds the backbone.

        Returns:
            ``forgetting/loss_<when>``, the mean next-token loss in nats over all processes; empty
            where it is not measured.
        """
        data, method = self.data, self.config.method
        if data.retention is None:
            return {}
        assert isinstance(method, TrainedConfig)
        language = LanguageModelingTask(task.backbone, method.optim)
        batches = EvaluationBatches(
            data.retention, data.collate, batch_size=NEUTRAL_ROWS, share=self.share
        )
        # Compiled code would specialise on these shapes, and training would then not be to the bit
        # what it is without this measurement.
        what = f"predicting neutral text {when} training"
        with torch.compiler.set_stance("force_eager"), announced(what, has_bar=True):
            [figures] = build_evaluator(self.config).validate(language, batches, verbose=False)
        return {f"forgetting/loss_{when}": figures["validation/loss"]}
