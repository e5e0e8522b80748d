"""Real trainings on the pretrained small model: each cause of a collapse planted, healthy seeds.

The model is the one that ``train.py task=reconstruction`` makes in its own cache, once.
"""

import json

import pytest
import torch
from front_doors import ROOT

from loradrift.models.soft_prompt import SoftPromptHead
from loradrift.runs import open_run
from loradrift.study.reconstruction.configurations import CONFIGURATIONS
from loradrift.tasks.reconstruction import building
from loradrift.training import run

pytestmark = pytest.mark.slow

PROVOKED = ("task.first_token_weight=0.5", "task.k_token_weight=0.5", "scale.adapter_lr=0.2",
            "scale.head_lr=0.1")  # fmt: skip
"""A cross-entropy as heavy as the reconstruction, at rates a hundred times too high."""

ADAPTED = [each for each in CONFIGURATIONS.values() if each.rank]


@pytest.fixture
def evaluations(load, tmp_path):
    """Train; gives the record and the lines of ``diagnostics.jsonl``."""

    def train(*typed):
        places = (f"cache={ROOT}/.cache", f"runs={tmp_path}")
        quick = ("callbacks.forgetting.enabled=false", "task.evaluation_rows=20",
                 "callbacks.activation_dump.enabled=false")  # fmt: skip
        config = load("task=reconstruction", *quick, *places, *typed)
        with open_run(config) as cell:
            record = run(config, cell)
            return record, [json.loads(line) for line in (cell.folder / "diagnostics.jsonl").open()]

    return train


def off_by_a_hundred(monkeypatch):
    """Soft prompts of a hundred times the embeddings' scale."""
    fit = building.fit_head

    def fit_wrongly(head, contexts):
        fit(head, contexts)
        head.adapter.scale.mul_(100)

    monkeypatch.setattr(building, "fit_head", fit_wrongly)


def the_same_for_all(monkeypatch):
    """Latents that are the same for all rows, with the gradients of their own."""
    latents = SoftPromptHead.latents

    def constant(self, context):
        own = latents(self, context)
        return torch.linspace(-1, 1, own.shape[2]) + own - own.detach()

    monkeypatch.setattr(SoftPromptHead, "latents", constant)


def nothing(monkeypatch):
    """The settings alone cause it."""


PLANTED = {
    "repetition": (nothing, PROVOKED),
    "latent_ignored": (the_same_for_all, ()),
    "dead_lora_gradient": (nothing, ("task.first_token_weight=1e-12",)),
    "rms_mismatch": (off_by_a_hundred, ()),
}
"""Cause -> the function that changes the code, and the overrides of the run."""


@pytest.mark.parametrize("cause", PLANTED)
def test_a_planted_cause_ends_the_run_at_its_first_evaluation(cause, evaluations, monkeypatch):
    plant, typed = PLANTED[cause]
    plant(monkeypatch)
    short = ("task.max_steps=20", "trainer.validate_every=10")
    stop = "callbacks.collapse.stop_on_collapse=true"
    record, [found] = evaluations("method=lora", *short, stop, *typed)
    assert (record.status, record.steps, found["cause"]) == ("collapsed", 10, cause)


@pytest.mark.parametrize("seed", range(10))
def test_no_false_alarm_of_a_run_that_learns_to_read(seed, evaluations):
    typed = [f"seed={seed}", "task.max_steps=400"]
    if seed % 2:
        typed.append("task.k_token_weight=1")
    every = "trainer.validate_every=50"
    record, found = evaluations(*typed, every, *ADAPTED[seed % len(ADAPTED)].typed(depth=4))
    assert [(line["step"], line["reasons"]) for line in found] == [
        (step, []) for step in range(50, 401, 50)
    ]
    assert record.collapse["alarms"] == 0
    assert found[-1]["collapse"]["swapped_gap_low"] > 0.05  # the latents are read indeed
