"""benchmark=export at the front door, on small runs; and what it writes, served by real vLLM."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SMALL
from front_doors import error_of, output_of, run_here

from loradrift.config import ModelConfig
from loradrift.models import load_tokenizer
from loradrift.runs import read_record
from loradrift.serving.export import read_servable
from loradrift.serving.run_rows import evaluation_table

KINDS = (("sst2", "lora"), ("mrpc", "lora"), ("rte", "full_finetune"))
SHORT = (
    "task.max_steps=6", "method.optim.lr=0.02", "callbacks.forgetting.enabled=false",
    "callbacks.activation_dump.enabled=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory, load, cache) -> dict[str, Path]:
    """Task -> the folder of a run."""
    from loradrift.runs import open_run
    from loradrift.training import run

    place = tmp_path_factory.mktemp("exported") / "runs"
    folders = {}
    for task, method in KINDS:
        typed = (*SMALL, *SHORT, f"task={task}", f"method={method}", "seed=1")
        config = load(*typed, f"cache={cache}", f"runs={place}")
        with open_run(config) as cell:
            run(config, cell)
        folders[task] = cell.folder
    return folders


def export(folder: Path, results: Path, *typed: str):
    command = ("benchmark=export", f"run={folder}", f"results={results}", *typed)
    return run_here(ROOT / "benchmark.py", *command)


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory) -> dict[str, Path]:
    """Task -> the folder of the export that the command wrote."""
    results = tmp_path_factory.mktemp("results")
    found = {}
    for task, folder in runs.items():
        output_of(export(folder, results))
        [found[task]] = results.glob(f"export/{task}-*")
    return found


def test_it_says_what_was_written_and_how_it_is_served(runs, exported):
    out = exported["sst2"]
    said = output_of(export(runs["sst2"], out.parents[1]))
    assert said.startswith(f"exported already, nothing to do: {out}\n")
    assert f"SST-2-like (generated), adapter of rank 8: {runs['sst2']}" in said
    assert "the adapter is applied: 14 layers add 1.0000 times scale * B A x" in said
    for part in ("adapter", "merged", "classifier"):
        assert f"{out}/{part}\n" in said
    assert f"--lora-modules sst2={out}/adapter\n" in said
    assert "--runner pooling --convert classify" in said


def test_whole_weights_have_no_adapter(exported):
    names = {path.name for path in exported["rte"].iterdir()}
    assert names == {"merged", "classifier", "export.json"}


def test_mistakes_are_one_line(runs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/precious").write_text("x")
    done = export(runs["sst2"], tmp_path, f"out={tmp_path}/mine")
    assert "must be a new folder, and holds something else already" in error_of(done)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious"]
    assert "is neither a run" in error_of(export(tmp_path, tmp_path))
    bare = run_here(ROOT / "benchmark.py", "benchmark=export")
    assert "benchmark=export needs run=<folder of a run or an adapter>" in error_of(bare)


def test_the_rows_of_a_run_are_those_that_it_was_evaluated_on(runs, exported, cache, tmp_path):
    base = read_servable(exported["mrpc"]).base
    table = evaluation_table(read_record(runs["mrpc"]), base, cache)
    lines = (runs["mrpc"] / "predictions.jsonl").read_text().splitlines()
    assert list(table.ids) == [json.loads(line)["id"] for line in lines]
    bos = load_tokenizer(ModelConfig(name="local", path=str(base))).bos_token_id
    assert {int(table.row(i)[0]) for i in range(len(table))} == {bos}


SESSION = """
import json, sys
from pathlib import Path
from loradrift.generation import EngineSettings, Request, Sampling, open_engine
from loradrift.serving.classification import classify_runs
from loradrift.serving.export import read_servable

cache, target, *places = map(Path, sys.argv[1:])
beside, whole = [read_servable(each) for each in places[:2]], read_servable(places[2])
found = {"beside": classify_runs(beside, cache, rows=40, threads=1)}
found["whole"] = classify_runs([whole], cache, rows=40, threads=1)

def answers(model, adapters, names):
    settings = EngineSettings(model, adapters, threads=1, max_length=64, kv_cache_bytes=2**26)
    with open_engine("vllm", settings) as engine:
        asked = [Request(f"{name} {i}", (1, 40 + i, 41), name) for name in names for i in range(4)]
        return [each.token_ids for each in engine.generate(asked, Sampling(max_tokens=12))]

adapters = {each.name: each.adapter for each in beside}
found["adapters"] = answers(beside[0].base, adapters, [*adapters])
found["merged"] = [ids for each in beside for ids in answers(each.merged, {}, [None])]
target.write_text(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None,
    reason="vLLM is not installed: `make serve-setup` brings it",
)
def test_real_vllm_takes_what_is_exported(exported, cache, tmp_path):
    target = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-c", SESSION, cache, target, *exported.values()],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    for part, tasks in (("beside", ["sst2", "mrpc"]), ("whole", ["rte"])):
        assert found[part]["problem"] is None
        for task in tasks:
            assert found[part]["tasks"][task]["rows"] == 40
            assert found[part]["tasks"][task]["wrong"] == []
            assert found[part]["tasks"][task]["largest_difference"] < 2e-5
    assert found["adapters"] == found["merged"]
    assert found["merged"][:4] != found["merged"][4:]
