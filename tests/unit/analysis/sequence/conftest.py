"""Every test here: bitmaps of few dots, CKA checked once."""

from functools import cache

import pytest
from planted_chains import FULL, LORA, SIZES, write_chain

from loradrift.analysis.registry import make_config
from loradrift.analysis.self_check.tables import run_self_checks
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


@cache
def checked_once():
    return run_self_checks(["cka"], 0)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loradrift.report.style.DPI", 40)
        tables = "loradrift.analysis.sequence.tables"
        patch.setattr(f"{tables}.run_self_checks", lambda measures, seed: checked_once())
        yield


@pytest.fixture(scope="session")
def settings():
    """``settings(folder, **keys)`` is the configuration for the runs below a folder."""

    def make(folder, *, figures=(), **keys):
        places = {"runs": f"{folder}/runs", "results": f"{folder}/results"}
        return make_config("sequence", keys=keys, figures=[*figures], **places)

    return make


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
    with pytest.MonkeyPatch.context() as patch:
        tables = "loradrift.analysis.sequence.tables"
        patch.setattr(f"{tables}.run_self_checks", lambda measures, seed: checked_once())
        return tabulate(settings(folder))
