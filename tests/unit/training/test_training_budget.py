"""A run's record says how many rows and tokens its steps took: counted, not planned."""

from types import SimpleNamespace

import torch

from loradrift.callbacks.training_budget import TrainingBudget
from loradrift.training import build, prepared_data, train


class Fit:
    """What the callback asks of a trainer; every ``accumulate``-th micro-batch makes a step."""

    def __init__(self, budget, step=0, accumulate=1, processes=1):
        self.budget, self.global_step, self.accumulate = budget, step, accumulate
        self.strategy = SimpleNamespace(reduce=lambda counts, reduce_op: counts * processes)
        self.batches = 0
        budget.on_train_start(self, None)

    def see(self, rows):
        self.batches += 1
        self.global_step += self.batches % self.accumulate == 0
        mask = torch.tensor([[True, True, False]] * rows)
        self.budget.on_train_batch_end(self, None, None, {"attention_mask": mask})


def figures(rows, per_epoch=8):
    return {"rows_seen": rows, "tokens_seen": 2 * rows, "epochs": rows / per_epoch}


def test_rows_without_a_step_are_not_counted_and_all_processes_are():
    fit = Fit(TrainingBudget(8), accumulate=2, processes=3)
    for rows in (4, 4, 4, 1, 4):  # the last of a table, and a micro-batch that no step follows
        fit.see(rows)
    assert fit.budget.figures() == figures(3 * 13)


def test_a_resumed_run_goes_on_counting():
    first = Fit(TrainingBudget(8))
    first.see(4)
    second = TrainingBudget(8)
    second.load_state_dict(first.budget.state_dict())
    Fit(second, step=1).see(3)
    assert second.figures() == figures(7)


def test_a_run_that_goes_on_from_a_checkpoint_without_counts_has_none():
    fit = Fit(TrainingBudget(8), step=5)
    fit.see(4)
    assert fit.budget.figures() == {}


def test_a_run_records_it(compute, monkeypatch):
    seen, steps, batches = [], 3, build.train_batches

    def watched(config, data, share, num_steps):
        made = batches(config, data, share, num_steps)
        collate = made.collate

        def collated(table, indices):
            batch = collate(table, indices)
            seen.append(batch["attention_mask"])
            return batch

        if config.task.name != "pretrain":  # which makes the small model
            made.collate = collated
        return made

    monkeypatch.setattr(train, "train_batches", watched)
    monkeypatch.setattr(prepared_data, "_kept", {})
    _, record = compute(f"task.max_steps={steps}", "trainer.accumulate=2", "data.train_rows=30")
    assert record.steps == steps and len(seen) == 2 * steps
    tokens = sum(int(mask.sum()) for mask in seen)
    rows = sum(len(mask) for mask in seen)
    assert rows == 2 * 8 * steps
    assert record.budget == {"rows_seen": rows, "tokens_seen": tokens, "epochs": rows / 30}
