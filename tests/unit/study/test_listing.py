"""What a listing says of memory: each task by its own runs, and what was measured for the rest."""

from types import SimpleNamespace

import pytest

from loradrift.study.cells import StudyCell
from loradrift.study.frontier.cells import FrontierCell
from loradrift.study.listing import memory_left

GIB = 2**30
ONE, TWO = (lambda jobs: min(jobs, 1)), (lambda jobs: min(jobs, 2))
"""Launchers that run so many jobs side by side."""


@pytest.fixture
def cell(load):
    """``cell(task, method, peak)``: a finished run that took so many GiB, or one that is left."""
    configs = {}

    def make(task, method="lora", peak=None, *, diverged=False, kind=StudyCell, label=("", "")):
        if (task, method) not in configs:
            configs[task, method] = load(f"task={task}", f"method={method}")
        record = SimpleNamespace(
            diverged=diverged, performance={"peak_memory_bytes": (peak or 0) * GIB}
        )
        done = peak is not None or diverged
        return kind((), configs[task, method], record if done else None, label)

    return make


def measured(**peaks):
    """Estimates that know a method and no task, as rates are of any batches."""
    known = {method: peak * GIB for method, peak in peaks.items()}
    return SimpleNamespace(peak_bytes=lambda config: known.get(config.method.name, "not measured"))


def test_memory_is_that_of_the_tasks_that_are_left(cell):
    short = [cell("sst2", peak=5), cell("sst2")]
    long = [cell("rte", peak=11), cell("rte", peak=10), cell("rte")]
    # whichever task is finished last
    for cells in (long + short, short + long):
        assert memory_left(cells, None, ONE) == "about 11.0 GiB with lora in a process"
    assert memory_left([*short, *long[:2]], None, ONE) == "about 5.0 GiB with lora in a process"
    assert memory_left([*long, cell("sst2")], measured(lora=5), TWO) == (
        "about 11.0 GiB with lora in a process; 2 at a time need up to 22.0 GiB"
    )
    others = [cell("rte", "majority"), *long]  # one job is left that trains
    assert memory_left(others, None, TWO) == "about 11.0 GiB with lora in a process"
    assert memory_left(long[:2], None, ONE) == "nothing is left to train"


def test_what_no_run_of_the_same_task_has_shown_is_measured_or_unknown(cell):
    cells = [cell("rte", peak=11), cell("sst2"), cell("sst2", "full_finetune")]
    assert memory_left(cells, None, ONE) == "unknown (nothing like it is finished)"
    assert memory_left(cells, measured(lora=5), ONE) == (
        "about 5.0 GiB with lora in a process; unknown for the rest (not measured)"
    )
    ended_early = [cell("sst2", peak=1, diverged=True), cell("sst2")]
    assert memory_left(ended_early, measured(lora=5), ONE) == "about 5.0 GiB with lora in a process"
    baselines = [cell("sst2", "majority", peak=9), cell("rte", "majority")]
    assert memory_left(baselines, measured(majority=1), ONE) == "nothing is left to train"


def test_the_rates_of_a_frontier_take_the_same_memory(cell):
    rates = [
        cell("sst2", peak=peak, kind=FrontierCell, label=("sst2", f"lora_r8 x {factor}"))
        for peak, factor in ((7, 1), (None, 0.1), (None, 10))
    ]
    assert memory_left(rates, None, ONE) == "about 7.0 GiB with lora_r8 in a process"
