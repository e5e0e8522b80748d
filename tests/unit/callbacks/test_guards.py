"""A training that cannot be right is stopped, by name."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from dumping import run_trainer
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from loradrift.callbacks.guards import FiniteLoss, GradientCheck, TrainingFault
from loradrift.callbacks.seeding import StepSeeding
from loradrift.config import LoraConfig, OptimConfig
from loradrift.methods import make_trainable
from loradrift.models import Classifier, load_backbone
from loradrift.runs import RunRecord, Status
from loradrift.tasks.classification.module import ClassificationTask


@pytest.fixture
def task(model):
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, LoraConfig(name="lora", rank=2, dropout=0.5), seed=0)
    classifier = Classifier(backbone, 2, seed=0)
    return ClassificationTask(classifier, OptimConfig(lr=1e-2), total_steps=8)


def fit(task, tmp_path, callback, **options):
    """Eight micro-batches."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 90, (8, 2, 6), generator=draw)
    labels = torch.tensor([0, 1])
    rows = [{"input_ids": x, "attention_mask": x > 0, "labels": labels} for x in ids]
    loader = DataLoader(rows, batch_size=None)
    run_trainer(task, loader, tmp_path, [callback], max_epochs=1, **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_its_step(task, tmp_path, value):
    plain = task.training_step
    task.training_step = lambda batch, batch_idx: (
        plain(batch, batch_idx) * (value if batch_idx == 3 else 1)
    )
    before = []
    task.on_before_zero_grad = lambda _: before.append([p.clone() for p in task.parameters()])
    with pytest.raises(TrainingFault, match=rf"the loss became {value} at step 3: lower") as fault:
        fit(task, tmp_path, FiniteLoss())
    # what a record keeps of it tells that the run diverged
    record = RunRecord(coordinates={}, config={}, error=str(fault.value))
    assert replace(record, status=Status.FAILED).diverged and not record.diverged
    assert not replace(record, status=Status.FAILED, error="no disk").diverged
    assert all(torch.equal(a, b) for a, b in zip(before[-1], task.parameters(), strict=True))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_parameter_off_the_path_is_named(task, tmp_path, accumulate):
    task.model.unused = nn.Linear(2, 2)
    message = r"2 parameters .* no gradient in the first 3 steps: model.unused.bias, model.unused.w"
    with pytest.raises(TrainingFault, match=message):
        fit(task, tmp_path, GradientCheck(3), accumulate_grad_batches=accumulate)


def test_lora_that_never_learns_is_caught(task, tmp_path):
    # Reentrant checkpointing on inputs without gradient: the campaign with B = 0 throughout.
    for block in task.backbone.blocks:

        def checkpointed(*args, plain=block.forward, **kwargs):
            return checkpoint(partial(plain, **kwargs), *args, use_reentrant=True)

        block.forward = checkpointed
    with pytest.raises(TrainingFault, match=r"28 parameters .*lora_A.* and 23 more"):
        fit(task, tmp_path, GradientCheck(3))


def test_healthy_lora_passes(task, tmp_path):
    fit(task, tmp_path, GradientCheck(3))


def test_the_first_step_alone_does_not_judge(task, tmp_path):
    # B = 0 gives A a zero gradient at step 0; one step would accuse every A
    with pytest.raises(TrainingFault, match="14 parameters .*lora_A"):
        fit(task, tmp_path, GradientCheck(1))


def test_a_resumed_run_goes_on_judging(task):
    guard, resumed = GradientCheck(3), GradientCheck(3)
    for silent in (None, set(), {"a", "b"}):
        guard._silent = silent
        resumed.load_state_dict(guard.state_dict())
        assert resumed._silent == silent


def test_dropout_depends_on_seed_and_position_alone(task):
    def draw(seed, position, rank=0):
        torch.rand(7)  # whatever ran in between
        trainer = SimpleNamespace(global_rank=rank)
        StepSeeding(seed).on_train_batch_start(trainer, task, None, position)
        return torch.rand(3).tolist()

    assert draw(1, 5) == draw(1, 5)
    assert len({tuple(draw(*place)) for place in [(1, 5), (2, 5), (1, 6), (1, 5, 1)]}) == 4
