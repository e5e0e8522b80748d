"""Every test here makes its report quickly, of chains that are planted."""

import pytest
from planted_chains import FULL, LORA, SIZES, TWO, write_chain
from quick_reports import quick_reports, settings_of

from loradrift.analysis.sequence.tables import tabulate

KEPT = {
    "rte": {"rte": 0.68},
    "mrpc": {"rte": 0.69, "mrpc": 0.79},
    "sst2": {"rte": 0.65, "mrpc": 0.78, "sst2": 0.89},
}
"""LoRA's matrix: step's task -> task -> accuracy."""

LUCK = {1: -0.01, 2: 0.0, 3: 0.02}
"""Seed -> what it adds to every score."""

DECAY = {1: 0.005, 2: 0.01, 3: -0.005}
"""Seed -> what full fine-tuning loses of earlier tasks beyond its matrix; LoRA gains half of it."""


@pytest.fixture(scope="module", autouse=True)
def quick():
    with quick_reports("sequence"):
        yield


@pytest.fixture(scope="session")
def settings():
    return settings_of("sequence")


def write_study(runs, seeds=(1, 2, 3)):
    """Two arms: LoRA keeps more, forgets half of neutral text and moves 0.7 times as much."""
    less = {task: 0.7 * size for task, size in SIZES.items()}
    for seed in seeds:
        own = {"luck": LUCK[seed], "decay": DECAY[seed], "shift": 7}
        write_chain(runs, FULL, seed, **own)
        own["decay"] *= -0.5
        write_chain(runs, LORA, seed, matrix=KEPT, lost=0.5, sizes=less, **own)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequence")
    write_study(folder / "runs")
    return folder


@pytest.fixture(scope="session")
def found(folder, settings):
    with quick_reports("sequence"):
        return tabulate(settings(folder))


@pytest.fixture
def runs(tmp_path):
    """Two arms with two seeds on a chain of two tasks."""
    folder = tmp_path / "runs"
    for seed in (1, 2):
        for arm in (FULL, LORA):
            write_chain(folder, arm, seed, order=TWO, luck=0.01 * seed)
    return folder
