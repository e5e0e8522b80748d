"""Runs that cannot be analysed cost their pair and one line; nothing else is lost."""

import re

import pytest
import torch
from planted import QUICK, analysed, base, probe, write_pair

from loradrift.activations import ActivationStore, Pooling
from loradrift.analysis.drift.hypothesis_data import decide_tables
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.usable_pairs import readable
from loradrift.runs import Cell, read_record


@pytest.fixture
def runs(tmp_path):
    """Two good pairs."""
    for seed in (1, 2):
        write_pair(tmp_path / "runs", seed, full=0.5, lora=0.2, num_rows=12, **QUICK)
    return tmp_path / "runs"


def only_problem(runs):
    """What is wrong with the second pair; the first remains."""
    pairing = readable(find_pairs(runs, None), [], runs.parent / "results")
    assert [pair.seed for pair in pairing.pairs] == [1]
    [problem] = pairing.problems
    assert problem.startswith("sst2 seed=2: ")
    return problem


def dump_again(runs, method, change):
    """Write step 9 of seed 2 again, valid checksum and all."""
    folder = runs / f"drift/sst2/{method}/seed=2/activations"
    origin = base(12)
    with ActivationStore(folder) as store:
        store.prepare(probe(12), Pooling(), list(origin))
        store.write(9, {name: change(name, x) for name, x in origin.items()})


def lose_numbers(name, x):
    return x.where(torch.rand(x.shape) > 0.2, torch.nan) if name == "layer_1" else x + 1e-3


@pytest.mark.parametrize(
    ("method", "change", "where", "remedy"),
    [
        ("lora", lose_numbers, "lora/seed=2/activations: step 9, layer_1: .*(NaN|infinit)",
         "move the run away and repeat its own command"),
        ("lora", lambda name, x: x * 0 + 1 if name == "layer_2" else x,
         "lora/seed=2: layer 2 at step 9 has no variance over the probe's",
         "callbacks.activation_dump.pooling"),
        ("full_finetune", lambda _, x: x, r"full_finetune did not move \(its drift is 0 at step 9"
         r"\)", "move the run away and train it again"),
    ],
)  # fmt: skip
def test_a_dump_without_a_drift_is_named(runs, method, change, where, remedy):
    dump_again(runs, method, change)
    problem = only_problem(runs)
    assert re.search(where, problem) and remedy in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"metrics.csv cannot be read \(.*No such file"),
        ("", r"metrics.csv cannot be read \(No columns"),
        ("step,train/loss\n9,0.5\n", r"has no column step and validation/accuracy with a value"),
        ("step,validation/accuracy\n9,\n", r"has no column step and validation/accuracy with a"),
        ("step,validation/accuracy\n9,0.5\n18,good\n", r"cannot be read \(Unable to parse .*good"),
        ("step,validation/accuracy\nnine,0.5\n", r"cannot be read \(Unable to parse .*nine"),
        ("step,validation/accuracy\n,0.5\n", "has a validation/accuracy without its step"),
    ],
)
def test_a_run_without_validation_scores(runs, text, message):
    path = runs / "drift/sst2/lora/seed=2/metrics.csv"
    path.unlink() if text is None else path.write_text(text)
    problem = only_problem(runs)
    assert re.search(message, problem)
    assert "copy the file here again, or move the run away" in problem


@pytest.mark.parametrize("fault", ["gone", "cut"])
def test_a_dump_lost_after_it_was_analysed_is_noticed(runs, fault):
    assert readable(find_pairs(runs, None), [], runs.parent / "results").problems == []
    path = runs / "drift/sst2/lora/seed=2/activations/step=000009.safetensors"
    size = path.stat().st_size
    path.unlink() if fault == "gone" else path.write_bytes(path.read_bytes()[:-5])
    problem = only_problem(runs)
    message = "No such file" if fault == "gone" else f"it must have {size} bytes, got {size - 5}"
    assert str(path) in problem and message in problem


def test_too_few_rows_for_a_measure(runs):
    for folder in runs.glob("drift/sst2/*/seed=2"):
        for path in (folder / "activations").iterdir():
            path.unlink()
        with ActivationStore(folder / "activations") as store:
            layers = {name: x[:3] for name, x in base(12).items()}
            store.prepare(probe(3), Pooling(), list(layers))
            for step in (0, 9):
                store.write(step, {name: x + step for name, x in layers.items()})
    assert "step 0, layer_0: expected a matrix with at least 4 rows" in only_problem(runs)


def test_a_record_without_its_score_has_no_block_for_h1(runs):
    folder = runs / "drift/sst2/lora/seed=2"
    Cell(folder, read_record(folder)).save(metrics={"evaluation/accuracy": None})
    h1, h2, _ = decide_tables(analysed(runs.parent))
    assert (h1.num_seeds, h2.num_seeds) == (1, 2)
    assert h1.note.startswith("one value") and "1 seed without a value" in h1.note
