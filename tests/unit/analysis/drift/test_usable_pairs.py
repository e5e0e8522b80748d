"""Runs that cannot be analysed cost their pair and one line; nothing else is lost."""

import json
import re

import pytest
import torch
from planted import LAYERS, base, probe, write_run

from loradrift.activations import ActivationStore, Pooling
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.usable_pairs import readable

QUICK = {"steps": (0, 9), "scores": (0.8,), "num_rows": 12}


@pytest.fixture
def runs(tmp_path):
    """Two good pairs."""
    for seed in (1, 2):
        for method, size in (("full_finetune", 0.5), ("lora", 0.2)):
            write_run(tmp_path / "runs", method, seed, size=size, **QUICK)
    return tmp_path / "runs"


def left(runs):
    """The seeds that remain, and the only problem."""
    pairing = readable(find_pairs(runs, None), [], runs.parent / "results")
    [problem] = pairing.problems
    assert problem.startswith("sst2 seed=2: ")
    return [pair.seed for pair in pairing.pairs], problem


def dump_again(runs, method, change):
    """Write step 9 of seed 2 again, valid checksum and all."""
    folder = runs / f"drift/sst2/{method}/seed=2/activations"
    origin = base(12, 16)
    with ActivationStore(folder) as store:
        store.prepare(probe(12), Pooling(), list(origin))
        store.write(9, {name: change(name, x) for name, x in origin.items()})


def test_not_a_number_in_a_dump_names_run_step_and_layer(runs):
    def change(name, x):
        return x.where(torch.rand(x.shape) > 0.2, torch.nan) if name == "layer_1" else x + 1e-3

    dump_again(runs, "lora", change)
    seeds, problem = left(runs)
    assert seeds == [1]
    assert re.search(r"lora/seed=2/activations: step 9, layer_1: .*(NaN|infinit)", problem)
    assert "move the run away and repeat its own command" in problem


def test_a_layer_without_variance_is_named(runs):
    dump_again(runs, "lora", lambda name, x: x * 0 + 1 if name == f"layer_{LAYERS - 1}" else x)
    seeds, problem = left(runs)
    assert seeds == [1]
    assert f"lora/seed=2: layer {LAYERS - 1} at step 9 has no variance over the probe's" in problem
    assert "callbacks.activation_dump.pooling" in problem


def test_full_fine_tuning_that_did_not_move(runs):
    dump_again(runs, "full_finetune", lambda _, x: x)
    seeds, problem = left(runs)
    assert seeds == [1]
    assert "full_finetune did not move (its drift is 0 at step 9)" in problem
    assert "move the run away and train it again" in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"metrics.csv cannot be read \(.*No such file"),
        ("", r"metrics.csv cannot be read \(No columns"),
        ("step,train/loss\n9,0.5\n", r"has no column step and validation/accuracy with a value"),
        ("step,validation/accuracy\n9,\n", r"has no column step and validation/accuracy with a"),
    ],
)
def test_a_run_without_validation_scores(runs, text, message):
    path = runs / "drift/sst2/lora/seed=2/metrics.csv"
    path.unlink() if text is None else path.write_text(text)
    seeds, problem = left(runs)
    assert seeds == [1] and re.search(message, problem)
    assert "copy the file here again, or move the run away" in problem


@pytest.mark.parametrize("fault", ["gone", "cut"])
def test_a_dump_lost_after_it_was_analysed_is_noticed(runs, fault):
    assert readable(find_pairs(runs, None), [], runs.parent / "results").problems == []
    path = runs / "drift/sst2/lora/seed=2/activations/step=000009.safetensors"
    size = path.stat().st_size
    path.unlink() if fault == "gone" else path.write_bytes(path.read_bytes()[:-5])
    seeds, problem = left(runs)
    assert seeds == [1] and str(path) in problem
    message = "No such file" if fault == "gone" else f"it must have {size} bytes, got {size - 5}"
    assert message in problem


def test_too_few_rows_for_a_measure(runs):
    for folder in runs.glob("drift/sst2/*/seed=2"):
        for path in (folder / "activations").iterdir():
            path.unlink()
        with ActivationStore(folder / "activations") as store:
            layers = {name: x[:3] for name, x in base(12, 16).items()}
            store.prepare(probe(3), Pooling(), list(layers))
            for step in (0, 9):
                store.write(step, {name: x + step for name, x in layers.items()})
    seeds, problem = left(runs)
    assert seeds == [1] and "step 0, layer_0: expected a matrix with at least 4 rows" in problem


def test_a_record_without_its_score_has_no_block_for_h1(runs):
    path = runs / "drift/sst2/lora/seed=2/run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"metrics": {"evaluation/accuracy": None}}))
    from loradrift.analysis.drift.hypothesis_data import decide_tables
    from loradrift.analysis.drift.tables import analyse

    tables = analyse(find_pairs(runs, None), [], runs.parent / "results", 0)
    h1, h2, _ = decide_tables(tables)
    assert (h1.num_seeds, h2.num_seeds) == (1, 2)
    assert h1.note.startswith("one value") and "1 seeds without a value" in h1.note
