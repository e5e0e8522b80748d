"""What a run will compute, counted from the lengths of its rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loradrift.config import Config
from loradrift.data import Collator, EvaluationBatches, Rows, TrainBatches
from loradrift.data.batches import MULTIPLE
from loradrift.study.costs.rates import Positions, Work
from loradrift.study.disk import FLOAT
from loradrift.training.worker import NEUTRAL_ROWS


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Tokens of each row that a run reads."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    evaluation: NDArray[np.int64]
    neutral: NDArray[np.int64]
    """Empty where forgetting is not measured."""

    read_s: float
    """CPU seconds of reading them, tokens included."""

    windows: float = 1.0
    """Training rows for each one of the file: a long context is cut into several."""

    def trained(self, config: Config) -> NDArray[np.int64]:
        """Those of the rows that a run trains on; a part of all stands for any part."""
        wanted = config.data.train_rows
        number = len(self.train) if wanted is None else round(wanted * self.windows)
        if number >= len(self.train):
            return self.train
        part: NDArray[np.int64] = np.linspace(0, len(self.train) - 1, number).astype(np.int64)
        return self.train.take(part)


class OnlyLengths(Rows):
    """Rows of which no more is known, for those who make batches."""

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self.lengths = lengths
        self.labels = np.zeros(len(lengths), dtype=np.int64)


def work_of(config: Config, lengths: Lengths, num_steps: int, trainable: int) -> Work:
    """Everything that one process computes in a run of ``num_steps``, each validation the best."""
    train = lengths.trained(config)
    validation = evaluation_positions(config, lengths.validation)
    validations = -(-num_steps // config.trainer.validate_every)
    forwards = [validation] * (validations + 1)  # once more with the best checkpoint
    forwards.append(evaluation_positions(config, lengths.evaluation))
    if config.task.min_train_accuracy is not None:
        forwards.append(evaluation_positions(config, train))
    dump = config.callbacks.activation_dump
    if dump.enabled or config.callbacks.online_drift.enabled:
        rows = np.sort(lengths.evaluation)
        rows = rows[np.linspace(0, len(rows) - 1, min(dump.rows, len(rows))).astype(int)]
        num_dumps = 1 + -(-num_steps // dump.every_n_steps)
        forwards += [evaluation_positions(config, rows)] * num_dumps
    neutral = batch_positions(config, lengths.neutral, NEUTRAL_ROWS)
    resume_points = 1 + (num_steps - 1) // config.trainer.checkpoint_every
    return Work(
        steps=step_positions(config, train, num_steps),
        updates=num_steps,
        forwards=np.concatenate(forwards),
        neutral=np.concatenate([neutral, neutral]),
        written=FLOAT * trainable * (validations + 3 * resume_points),
        read_s=lengths.read_s,
    )


def step_positions(config: Config, lengths: NDArray[np.int64], num_steps: int) -> Positions:
    """Positions of each micro-batch of a run, in the order in which it trains on them."""
    number = num_steps * config.trainer.accumulate
    table, size = OnlyLengths(lengths), config.task.batch_size
    batches = TrainBatches(
        table, Collator(0), batch_size=size, num_batches=number, seed=config.seed
    )
    found: list[int] = []
    for epoch in range(-(-number // batches.per_epoch)):
        found += [size * _width(config, lengths[each]) for each in batches.epoch(epoch)]
    return np.array(found[:number], dtype=np.int64)


def evaluation_positions(config: Config, lengths: NDArray[np.int64]) -> Positions:
    """Positions of each batch of one evaluation."""
    return batch_positions(config, lengths, 2 * config.task.batch_size)


def batch_positions(config: Config, lengths: NDArray[np.int64], size: int) -> Positions:
    """Positions of each batch of one pass over rows, ``size`` at a time."""
    batches = EvaluationBatches(OnlyLengths(lengths), Collator(0), batch_size=size).batches
    found = [len(each) * _width(config, lengths[each]) for each in batches]
    return np.array(found, dtype=np.int64)


def _width(config: Config, lengths: NDArray[np.int64]) -> int:
    multiple = 1 if config.trainer.accelerator == "cpu" else MULTIPLE
    return -(-int(lengths.max()) // multiple) * multiple
