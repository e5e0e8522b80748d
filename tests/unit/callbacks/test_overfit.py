"""A sanity check ends as soon as its rows are learned, and not before."""

import math

import pytest
import pytorch_lightning as pl
import torch
from dumping import run_trainer
from torch.utils.data import DataLoader

from loradrift.callbacks.overfit import StopWhenOverfit

BOUND = 0.1 * math.log(2) / 2
"""Of a mean loss that proves an accuracy of 0.9."""


ROWS = [{"labels": torch.zeros(3)}, {"labels": torch.ones(1)}]
"""Two batches of different sizes."""


class Replay(pl.LightningModule):
    """Trains with losses that are known; ``measured`` are those of all rows, after each step."""

    def __init__(self, losses, measured=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.losses = losses
        self.measured = measured or [0.0] * (len(losses) + 1)

    def loss(self, batch):
        assert not (self.training or torch.is_grad_enabled())
        return self.measured[self.global_step] * batch["labels"].mean()

    def training_step(self, batch, batch_idx):
        return self.weight * 0 + self.losses[int(batch)]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def steps(losses, tmp_path, callback, *, first=0, measured=None, **options):
    loader = DataLoader(range(first, len(losses)), batch_size=None)
    options |= {"max_epochs": 1}
    task = Replay(losses, measured)
    return run_trainer(task, loader, tmp_path, [callback], **options).global_step


def stop_when(accuracy, batches):
    return StopWhenOverfit(accuracy, batches, ROWS)


def test_it_goes_on_while_rows_are_wrong_that_the_last_pass_left_out(tmp_path):
    """Only the second of the batches of all rows has losses: a quarter of the rows."""
    measured = [0, 0, 4.4 * BOUND, 4 * BOUND, 3.9 * BOUND, 0]
    assert steps([0.0] * 5, tmp_path, stop_when(0.9, 2), measured=measured) == 4


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_stops_at_the_first_pass_whose_mean_loss_proves_the_accuracy(tmp_path, accumulate):
    low, high = 0.9 * BOUND, 1.2 * BOUND
    losses = [low, high, low, high, low, low, low, low]  # the mean of three passes at the seventh
    stopped = steps(losses, tmp_path, stop_when(0.9, 3), accumulate_grad_batches=accumulate)
    assert stopped == (7 if accumulate == 1 else 4)


def test_it_never_stops_before_a_whole_pass_or_at_the_bound(tmp_path):
    assert steps([0.0] * 4, tmp_path, stop_when(0.9, 5)) == 4
    assert steps([BOUND] * 6, tmp_path, stop_when(0.9, 2)) == 6
    assert steps([1e-9] * 6, tmp_path, stop_when(1.0, 2)) == 6  # no loss proves that


def test_a_wrong_row_is_never_below_the_bound():
    """The worst case: as few wrong rows as are too many, each with the least loss it can have."""
    rows, wrong = 100, 11
    assert wrong * math.log(2) / rows > BOUND  # a cross-entropy
    assert wrong * math.log(2) / 2 / rows > BOUND  # the mean of two, of which one is wrong


def test_a_resumed_run_stops_where_the_whole_one_did(tmp_path):
    losses = [1.0, 0.0, 0.0, 0.0, 0.0]
    whole = stop_when(0.9, 3)
    assert steps(losses, tmp_path, whole) == 4
    resumed = stop_when(0.9, 3)
    resumed.load_state_dict({"losses": losses[:2]})
    assert steps(losses, tmp_path, resumed, first=2) == 2
    ended = stop_when(0.9, 3)
    ended.load_state_dict(whole.state_dict())
    assert steps(losses, tmp_path, ended, first=4) == 0
