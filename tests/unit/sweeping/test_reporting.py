"""Trials are compared after equal shares of their runs."""

from functools import cache
from pathlib import Path

import optuna
import pytest

from loradrift.config import SearchConfig
from loradrift.sweeping import storage
from loradrift.sweeping.reporting import Reporter
from loradrift.sweeping.storage import open_storage

NAME = "main/sst2/lora"


@pytest.fixture
def report(tmp_path):
    """Run a trial with these validations, by optimizer step; gives what was kept, and its end."""
    url = f"sqlite:///{tmp_path}/trials.db"
    study = optuna.create_study(study_name=NAME, storage=open_storage(url), direction="maximize")

    def run(values, total_steps, pruner="median"):
        trial = study.ask()
        settings = {"trial": trial.number, "pruner": pruner, "full_trials": 1}
        search = SearchConfig(storage=url, study=NAME, **settings)
        for step, value in values.items():
            # a requeued job opens the trial anew
            if Reporter(search, Path("cell"), total_steps=total_steps).ends(step, value):
                return study.trials[-1].intermediate_values, step
        study.tell(trial, value)
        return study.trials[-1].intermediate_values, None

    return run


def test_a_value_lasts_until_the_next_validation(report):
    kept, ended = report({50: 0.5, 100: 0.6, 150: 0.7, 170: 0.8}, 170)
    assert ended is None
    parts = {5: 0.5, 11: 0.6, 17: 0.7, 20: 0.8}
    assert {part: kept[part] for part in parts} == parts
    assert list(kept) == list(range(5, 21))
    assert all(kept[part] == kept[part - 1] for part in range(6, 21) if part not in parts)


def test_small_batches_are_not_ended_for_having_seen_fewer_rows(report):
    large = {50: 0.6, 100: 0.8}
    report(large, 100)
    small = {step: 0.9 * step / 800 for step in range(50, 801, 50)}
    assert small[100] < large[50] and small[800] > large[100]
    _, ended = report(small, 800)  # compared at the same steps, it ended at the first
    assert ended == 400, "half of its own run: 0.45 < 0.6"
    better = {step: 0.9 * step / 800 + 0.2 for step in range(50, 801, 50)}
    assert better[50] < large[50]
    _, ended = report(better, 800)
    assert ended is None


@pytest.mark.parametrize("pruner", ["hyperband", "successive_halving"])
def test_every_trial_gets_a_quarter_of_its_run(report, pruner, monkeypatch):
    monkeypatch.setattr(storage, "open_storage", cache(open_storage))  # 200 times the same
    steps = range(10, 101, 10)
    report({step: 0.9 for step in steps}, 100, pruner)
    shares = []
    for number, total in enumerate((100, 400) * 6):  # each worse than those before, in any bracket
        _, ended = report({step * total // 100: -number for step in steps}, total, pruner)
        shares += [ended / total] if ended else []
    assert min(shares) == 0.3, "the first validation after a quarter of the run"
