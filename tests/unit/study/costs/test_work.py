"""What a run computes, counted from the lengths of its rows, is what it does compute."""

from dataclasses import replace

import numpy as np
import pytest

from loradrift.data import Collator, EvaluationBatches, TokenTable, TrainBatches
from loradrift.study.costs.work import Lengths, step_positions, work_of

TYPED = (
    "task=sst2", "method=lora", "task.batch_size=2", "task.max_steps=5", "trainer.validate_every=2",
    "trainer.checkpoint_every=2", "callbacks.activation_dump.every_n_steps=2",
    "callbacks.activation_dump.rows=3",
)  # fmt: skip


def rows(*lengths):
    return np.array(lengths, dtype=np.int64)


def lengths(**changes):
    given = {
        "train": rows(3, 3, 3, 3), "validation": rows(2, 4, 6), "evaluation": rows(5, 5, 5, 5, 7),
        "neutral": rows(8, 8, 2), "read_s": 1.0,
    }  # fmt: skip
    return Lengths(**given | changes)


def test_every_pass_over_the_rows_is_counted(load):
    work = work_of(load(*TYPED), lengths(), num_steps=5, trainable=10)
    assert work.steps.tolist() == [6] * 5
    # validations after steps 2, 4 and 5, and of the best checkpoint; four rows at a time
    validations = [3 * 6] * 4
    reported = [4 * 7, 1 * 5]
    # three of the reported rows (lengths 5, 5 and 7) at steps 0, 2, 4 and 5
    dumps = [3 * 7] * 4
    assert sorted(work.forwards) == sorted(validations + reported + dumps)
    assert work.neutral.tolist() == [3 * 8, 3 * 8]  # before and after
    # three best checkpoints; the last with two moments at steps 2, 4 and the end
    assert work.written == 4 * 10 * (3 + 3 * 3)


def test_what_is_turned_off_is_not_counted(load):
    config = load(*TYPED, "callbacks.activation_dump.enabled=false")
    work = work_of(config, lengths(neutral=rows()), num_steps=5, trainable=10)
    assert len(work.forwards) == 4 + 2 and work.neutral.sum() == 0
    sanity = replace(config, data=replace(config.data, train_rows=2))
    sanity = replace(sanity, task=replace(sanity.task, min_train_accuracy=0.9))
    found = work_of(sanity, lengths(train=rows(3, 9, 9, 3)), num_steps=1, trainable=10)
    assert found.steps.tolist() == [2 * 3]  # of the first and last row
    assert 2 * 3 in found.forwards.tolist()  # its own rows, at the end


def test_accumulated_micro_batches_are_counted_one_by_one_and_their_steps_once(load):
    config = load(*TYPED, "trainer.accumulate=3")
    assert len(step_positions(config, rows(3, 3, 3, 3), 5)) == 15
    work = work_of(config, lengths(), num_steps=5, trainable=10)
    assert (len(work.steps), work.updates) == (15, 5)


def test_a_row_that_is_cut_into_windows_is_as_many_rows(load):
    config = load(*TYPED, "data.train_rows=2")
    long = lengths(train=rows(*range(3, 13)), windows=2.5)  # four rows of the file
    assert long.trained(config).tolist() == [3, 5, 7, 9, 12]
    assert len(long.trained(load(*TYPED, "data.train_rows=9"))) == 10
    assert len(long.trained(load(*TYPED))) == 10


@pytest.fixture(scope="module")
def tokens():
    draw = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(draw.integers(3, 40, 23))])
    flat = draw.integers(4, 99, offsets[-1]).astype(np.int32)
    ids, flags = tuple(map(str, range(23))), np.ones(len(flat), dtype=np.uint8)
    return TokenTable(ids, flat, offsets, np.arange(23) % 2, 0, flags)


@pytest.mark.parametrize(("trainer", "multiple"), [("cpu", 1), ("gpu", 8)])
def test_positions_are_those_of_the_batches_that_the_run_makes(load, tokens, trainer, multiple):
    config = load(*TYPED, f"trainer={trainer}", "trainer.precision=32-true")
    collate = Collator(0, multiple=multiple)
    batches = TrainBatches(tokens, collate, batch_size=2, num_batches=9, seed=config.seed)
    made = [each["input_ids"].numel() for each in batches]
    assert step_positions(config, tokens.lengths, 9).tolist() == made
    tested = EvaluationBatches(tokens, collate, batch_size=4)
    own = lengths(validation=tokens.lengths, evaluation=rows(1))
    found = work_of(config, own, num_steps=1, trainable=1).forwards.tolist()
    positions = [each["input_ids"].numel() for each in tested]
    assert found[: len(positions)] == positions
