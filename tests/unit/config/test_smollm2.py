"""``model=smollm2``: which copy of the weights is used, and that the record says it."""

import re
import shutil

import pytest
from front_doors import ROOT
from hydra import compose, initialize_config_dir

import loradrift.serving  # noqa: F401  registers benchmark=…
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.provenance import made_of
from loradrift.config import UserError, load_benchmark
from loradrift.config.models import SMOLLM2_COPY
from loradrift.runs import open_run
from loradrift.training import run

HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def with_copy(model_folder, cache, tmp_path):
    """A cache that holds what ``make smollm2`` writes, but for its size."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/data").symlink_to(cache / "data")
    shutil.copytree(model_folder, tmp_path / "cache" / SMOLLM2_COPY)
    return f"cache={tmp_path}/cache"


def test_the_hub_is_asked_only_where_there_is_no_copy(load, with_copy, tmp_path):
    model = load("model=smollm2", f"cache={tmp_path}/empty").model
    assert (model.path, model.copy) == (HUB, "hub")
    model = load("model=smollm2", with_copy).model
    assert (model.path, model.copy) == (f"{tmp_path}/cache/models/smollm2-135m", "dequantised")
    model = load("model=smollm2", with_copy, "model.path=elsewhere").model
    assert (model.path, model.copy) == ("elsewhere", "typed")


def test_a_benchmark_takes_the_same_copy(load, with_copy, tmp_path):  # load: what is registered
    with initialize_config_dir(str(ROOT / "conf")):
        for cache, copy in ((with_copy, "dequantised"), (f"cache={tmp_path}/empty", "hub")):
            typed = ["scale=small", cache]
            config = load_benchmark(compose("benchmark", typed), typed)
            assert config.model.copy == copy
            assert config.serving.full and 16 in config.serving.batch_sizes


def test_a_copy_that_is_typed_would_have_no_effect(load, tmp_path):
    with pytest.raises(UserError, match="model.copy must be left out: it follows from what is th"):
        load("model=smollm2", "model.copy=hub", f"cache={tmp_path}")


def test_without_hub_and_copy_one_line_says_how_to_make_it(load, cache, tmp_path):
    config = load("model=smollm2", f"cache={cache}", f"runs={tmp_path}")
    line = f"model.path={HUB} is no local folder and cannot be had from the hub"
    with pytest.raises(UserError, match=re.escape(line)) as caught, open_run(config) as cell:
        run(config, cell)
    assert str(caught.value).endswith("network `make smollm2` makes a copy that needs no hub")


def test_a_run_records_which_copy_it_used(load, with_copy, tmp_path):
    sizes = ("task.max_steps=1", "task.batch_size=4", "task.max_length=32", "data.train_rows=40")
    config = load("model=smollm2", "callbacks.forgetting.enabled=false", with_copy, *sizes)
    config.runs = str(tmp_path / "runs")
    with open_run(config) as cell:
        record = run(config, cell)
    model = record.config["model"]
    assert (model["name"], model["copy"]) == ("smollm2", "dequantised")
    assert model["path"] == f"{tmp_path}/cache/models/smollm2-135m"
    shown = made_of(Run(cell.folder, record))["model"]
    assert shown == "smollm2-135m (4-bit weights, dequantised)"
    shutil.rmtree(model["path"])
    fresh = load("model=smollm2", "callbacks.forgetting.enabled=false", with_copy, *sizes)
    fresh.runs = config.runs
    with pytest.raises(UserError, match="model.copy: dequantised -> hub"), open_run(fresh):
        pass
