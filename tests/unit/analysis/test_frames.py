"""The data frames hold what the run folders hold, and say what they leave out."""

import doctest
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from front_doors import ROOT
from one_module import MODULE, write_adapter
from planted import QUICK, plant, write_pair, write_run
from safetensors.torch import load_file, save_file

import loradrift
from loradrift.activations import ActivationStore
from loradrift.analysis import frames
from loradrift.config import UserError
from loradrift.runs import Cell, Status
from loradrift.similarity import MEASURES

PLACE = ["study", "task", "method", "variant", "seed"]


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """Two seeds of both methods, with predictions and adapters; we are in the folder above."""
    folder = tmp_path / "runs"
    lines = [{"id": f"r/{i}", "label": i % 2, "prediction": 1, "score": 0.75} for i in range(4)]
    for seed in (1, 2):
        write_pair(folder, seed, **QUICK)
    for run in folder.glob("*/*/*/*"):
        (run / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for run in folder.glob("*/*/lora/*"):
        write_adapter(run / "model")
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_examples_of_the_docstrings_run(runs):
    assert doctest.testmod(frames).failed == 0
    documented = [getattr(loradrift, name).__doc__ for name in loradrift.__all__]
    assert all(">>>" in text for text in documented)


def test_the_examples_of_the_guide_run(runs, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/dataframes.md").read_text(), re.S)
    exec("\n".join(blocks), {})
    assert f"{MODULE} 10.0" in capsys.readouterr().out
    assert all(f"loradrift.{name}(" in "".join(blocks) for name in loradrift.__all__)


def test_a_row_for_every_run_with_its_record(runs):
    _, trial = plant(runs, "lora", 10, size=0.1, study="drift.search", phase="search", **QUICK)
    trial.status, trial.metrics = Status.RUNNING, {"validation/f1": None}
    trial.parameters, trial.performance = {"trainable": 7, "total": 9}, {"wall_time_s": 2.5}
    trial.certificate = {"passed": False}
    folder = runs / "drift.search/sst2/lora/seed=10"
    Cell(folder, trial).save()
    table = frames.runs_df(runs)
    assert list(table.columns[:5]) == PLACE
    assert table[["study", "method", "seed"]].values.tolist() == [
        ["drift", "full_finetune", 1], ["drift", "full_finetune", 2],
        ["drift", "lora", 1], ["drift", "lora", 2], ["drift.search", "lora", 10],
    ]  # fmt: skip
    last = table.iloc[-1]
    assert (last["status"], last["phase"], last["steps"]) == ("running", "search", 9)
    assert (last["trainable_parameters"], last["wall_time_s"]) == (7, 2.5)
    assert np.isnan(last["validation/f1"]) and np.isnan(last["evaluation/accuracy"])
    assert last["folder"] == str(folder)
    assert table["certificate_passed"].isna().tolist() == [True, True, False, False, False]
    assert table["certificate_passed"].dropna().tolist() == [True, True, False]
    assert table["evaluation/accuracy"].dropna().tolist() == [0.8] * 4


def test_seeds_are_sorted_as_numbers(tmp_path):
    for seed in (10, 9):
        write_run(tmp_path, "lora", seed, size=0.1, **QUICK)
    assert frames.runs_df(tmp_path)["seed"].tolist() == [9, 10]


@pytest.mark.parametrize("below", ["", "drift", "drift/sst2", "drift/sst2/lora"])
def test_any_folder_above_runs_will_do(runs, below):
    table = frames.runs_df(str(runs / below))
    everything = frames.runs_df(runs)
    inside = everything["folder"].str.startswith(str(runs / below))
    pd.testing.assert_frame_equal(table, everything[inside].reset_index(drop=True))


def test_a_damaged_record_is_named_and_left_out(runs):
    damaged = runs / "drift/sst2/lora/seed=1"
    (damaged / "run.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out: .*lora/seed=1/run\.json is damaged") as said:
        table = frames.runs_df(runs)
    assert [each.filename for each in said] == [__file__]  # where it was called
    left = ["full_finetune 1", "full_finetune 2", "lora 2"]
    assert [*table["method"] + " " + table["seed"].astype(str)] == left
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(UserError, match="lora/seed=1 holds no training run that can be read"),
    ):
        frames.runs_df(damaged)


@pytest.mark.parametrize("table", [frames.runs_df, frames.drift_df, frames.predictions_df])
def test_what_holds_no_run_is_refused(table, tmp_path):
    with pytest.raises(UserError, match=r"^runs must be a folder, got nowhere$"):
        table("nowhere")
    with pytest.raises(UserError, match="holds no training run that can be read; it must be"):
        table(tmp_path)


@pytest.mark.parametrize("measure", ["cka", "cosine", "procrustes", "svcca", "knn"])
def test_drift_is_the_measure_of_the_dumps(runs, measure):
    table = frames.drift_df(runs / "drift/sst2/lora", measure)
    assert list(table.columns) == [*PLACE, "step", "layer", "value", "drift"]
    assert len(table) == 2 * 2 * 3  # seeds, steps, layers
    store = ActivationStore(runs / "drift/sst2/lora/seed=2/activations")
    own = table[(table["seed"] == 2) & (table["step"] == 9)].set_index("layer")
    for layer in range(3):
        x, y = (store.read(step)[f"layer_{layer}"] for step in (0, 9))
        assert own["value"][layer] == pytest.approx(MEASURES[measure](x, y), abs=1e-6)
        assert own["drift"][layer] == pytest.approx(MEASURES[measure].distance(x, y), abs=1e-6)
    assert (own["drift"] > 1e-3).all()


def test_an_unknown_measure_is_refused(runs):
    with pytest.raises(UserError, match=r"^measure must be one of cka, .*rsa, got ckaa$"):
        frames.drift_df(runs, "ckaa")


def test_runs_without_dumps_are_left_out_and_damaged_dumps_named(runs):
    lora, full = runs / "drift/sst2/lora", runs / "drift/sst2/full_finetune"
    (lora / "seed=1/activations/manifest.json").unlink()
    (lora / "seed=2/activations/step=000009.safetensors").write_bytes(b"short")
    with pytest.warns(UserWarning, match=r"left out: .*seed=2.*step=000009.* is damaged") as said:
        table = frames.drift_df(runs)
    assert [each.filename for each in said] == [__file__]
    assert set(table["method"]) == {full.name}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no dumps are no damage
        with pytest.raises(UserError, match=r"seed=1 holds no dumps .*activation_dump\.enabled"):
            frames.drift_df(lora / "seed=1")


def test_dumps_without_a_start_are_named_and_left_out(tmp_path):
    write_run(tmp_path, "lora", 1, size=0.1, **QUICK)
    write_run(tmp_path, "lora", 2, size=0.1, steps=(5, 9), scores=(0.8,))
    with pytest.warns(UserWarning, match=r"left out: step 0 is not in .*seed=2/activations"):
        assert set(frames.drift_df(tmp_path)["seed"]) == {1}


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("metrics", {"evaluation/accuracy": "good"}, "metrics.evaluation/accuracy"),
        ("parameters", {"trainable": [1]}, "parameters.trainable"),
        ("certificate", "held", "certificate"),
        ("certificate", {"passed": "yes"}, "certificate.passed"),
        ("coordinates", {"study": "drift", "task": "sst2", "seed": 1}, "coordinates.method"),
        ("config", {"task": {"metric": "f1"}, "method": {"optim": {"lr": "high"}}},
         "config.method.optim.lr"),
        ("steps", "9", "steps"),
        ("parameters", {"trainable": 1.5}, "parameters.trainable"),
        ("budget", {"rows_seen": "all"}, "budget.rows_seen"),
    ],
)  # fmt: skip
def test_a_record_with_a_value_of_another_type_is_named_and_left_out(runs, field, value, named):
    path = runs / "drift/sst2/lora/seed=1/run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.warns(UserWarning, match=rf"left out: .*run\.json is damaged \({named} is absent"):
        assert len(frames.runs_df(runs)) == 3


def test_predictions_have_their_runs_coordinates(runs):
    table = frames.predictions_df(runs)
    assert list(table.columns) == [*PLACE, "id", "label", "prediction", "score"]
    assert table.groupby(["method", "seed"]).size().tolist() == [4] * 4
    one = frames.predictions_df(runs / "drift/sst2/lora/seed=2")
    assert one[["method", "seed", "id"]].values.tolist() == [
        ["lora", 2, f"r/{i}"] for i in range(4)
    ]


def test_predictions_of_fewer_rows_than_were_evaluated_are_damaged(runs):
    folder = runs / "drift/sst2/lora/seed=1"
    record = json.loads((folder / "run.json").read_text())
    for rows in ({"evaluation": 5}, {"evaluation": 4, "evaluation_questions": 5}):
        (folder / "run.json").write_text(json.dumps(record | {"rows": rows}))
        with pytest.warns(UserWarning, match=r"jsonl is damaged \(it holds 4 rows of 5"):
            assert len(frames.predictions_df(runs)) == 12
    (folder / "run.json").write_text(json.dumps(record | {"rows": {"evaluation": 4}}))
    assert len(frames.predictions_df(runs)) == 16


@pytest.mark.parametrize("text", ["", "{", "3\n", "\xff"])
def test_damaged_predictions_are_named_and_left_out(runs, text):
    path = runs / "drift/sst2/lora/seed=1/predictions.jsonl"
    path.write_text(text, encoding="latin-1")
    with pytest.warns(UserWarning, match=r"left out: .*seed=1/predictions\.jsonl is damaged \("):
        table = frames.predictions_df(runs)
    assert table.groupby(["method", "seed"]).size().tolist() == [4] * 3
    path.unlink()
    with pytest.raises(UserError, match="seed=1 holds no predictions that can be read"):
        frames.predictions_df(path.parent)


def test_an_adapter_is_read_from_a_run_its_model_and_any_folder(runs, tmp_path):
    write_adapter(tmp_path / "mine", lora_alpha=3)
    run = runs / "drift/sst2/lora/seed=1"
    for folder, scale in ((run, 2), (str(run / "model"), 2), (tmp_path / "mine", 3)):
        [(module, change)] = frames.adapter(folder).items()
        assert (module, change.scale, change.shape) == (MODULE, scale, (2, 1))
        assert change.B_OR.tolist() == [[3], [4]] and change.A_RI.tolist() == [[1]]


def test_a_folder_without_an_adapter_says_what_is_there(runs, tmp_path):
    with pytest.raises(UserError, match=r"^path must be a folder, got nowhere$"):
        frames.adapter("nowhere")
    folder = runs / "drift/sst2/full_finetune/seed=1"
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").touch()
    held = "activations, metrics.csv, model, model/model.safetensors, predictions.jsonl, run.json"
    with pytest.raises(UserError, match=rf"full_finetune/seed=1 holds no adapter: .* is {held}$"):
        frames.adapter(folder)
    with pytest.raises(UserError, match="there is nothing$"):
        (tmp_path / "empty").mkdir()
        frames.adapter(tmp_path / "empty")


def test_factors_that_are_not_the_whole_change_are_refused(tmp_path):
    write_adapter(tmp_path / "dora", use_dora=True)
    path = tmp_path / "dora" / "adapter_model.safetensors"
    magnitude = {f"base_model.model.{MODULE}.lora_magnitude_vector": torch.ones(2)}
    save_file(load_file(path) | magnitude, path)
    with pytest.raises(UserError, match="the factors are not the whole change; give the base"):
        frames.adapter(tmp_path / "dora")
