"""benchmark.py: small runs served by transformers and PEFT; killed, interrupted, and bad input."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from conftest import ROOT, SMALL
from fork_server import ForkedProcess
from front_doors import error_of, output_of, run_here
from served_cells import cell_of, check_samples, gone, record_of, rounds, wait_until, worker_of

from loradrift.serving.samples import Sample, read_rows

MODEL = tuple(each for each in SMALL if each.startswith("model."))
FEW = (
    "engine=hf", "serving.adapters=1,2", "serving.batch_sizes=1,2", "serving.max_tokens=16",
    "serving.rounds=4", "serving.memory=false", "serving.prompt_length=16",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory, load, cache) -> Path:
    """A LoRA run of sst2 and one of mrpc."""
    from loradrift.runs import open_run
    from loradrift.training import run

    folder = tmp_path_factory.mktemp("served") / "runs"
    for task in ("sst2", "mrpc"):
        typed = (*SMALL, f"task={task}", "method=lora", "method.optim.lr=0.01", "seed=1")
        config = load(*typed, f"cache={cache}", f"runs={folder}")
        config.variant = ""
        config.earlier_variant = None
        with open_run(config) as cell:
            run(config, cell)
    return folder


@pytest.fixture
def typed(runs, cache, tmp_path):
    """The places and sizes of a small cell; the runs are a copy."""
    shutil.copytree(runs, tmp_path / "runs")
    return (
        *MODEL, f"runs={tmp_path}/runs", f"cache={cache}", f"results={tmp_path}/results",
    )  # fmt: skip


def benchmark(*typed: str):
    return run_here(ROOT / "benchmark.py", *typed)


@pytest.mark.slow
def test_a_cell_whose_processes_are_killed_goes_on_and_ends(typed, tmp_path):
    runs, command = tmp_path / "runs", ["python", "benchmark.py", *FEW, *typed]
    # kill -9 of the parent: the worker ends, nothing is lost
    parent = ForkedProcess(command, ROOT)
    wait_until(lambda: rounds(runs), parent)
    worker = worker_of(parent)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while not gone(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(worker)
    assert record_of(runs)["status"] == "running"
    kept = {path: path.stat().st_mtime_ns for path in rounds(runs)}
    assert 1 <= len(kept) < 4
    # kill -9 of the worker: one line, what was measured is kept and marked
    parent = ForkedProcess(command, ROOT)
    wait_until(lambda: len(rounds(runs)) > len(kept), parent)
    os.kill(worker_of(parent), signal.SIGKILL)
    _, stderr = parent.communicate()
    assert parent.returncode == 1
    [line] = stderr.splitlines()
    done = len(rounds(runs))
    assert "the engines' process is killed (SIGKILL)" in line
    assert f"what was measured is kept: {done} of 4 rounds; the same command goes on" in line
    record = record_of(runs)
    assert (record["status"], record["resumed"]) == ("failed", 1) and done < 4
    assert {path: path.stat().st_mtime_ns for path in rounds(runs)}.items() >= kept.items()
    # a damaged round is measured again, the others are not
    first, *others = rounds(runs)
    first.write_bytes(first.read_bytes()[:100])
    before = {path: path.stat().st_mtime_ns for path in others}
    said = output_of(benchmark(*FEW, *typed))
    assert f"going on after {done} rounds" in said and " 0 were wrong " in said
    assert {path: path.stat().st_mtime_ns for path in others} == before
    record = record_of(runs)
    assert (record["status"], record["resumed"], record["kind"]) == ("success", 2, "serving")
    check_samples(runs)
    checks = json.loads((cell_of(runs) / "checks.json").read_text())
    assert 0 < checks["told_apart"] <= checks["answers"]
    # and a finished cell only prints its result again
    said = output_of(benchmark(*FEW, *typed))
    assert "finished already" in said and " 0 were wrong " in said
    assert (tmp_path / "results/deployment/deployment_benchmark.json").is_file()


def test_ctrl_c_leaves_a_status_and_exit_code_130(typed, tmp_path):
    runs = tmp_path / "runs"
    parent = ForkedProcess(["python", "benchmark.py", *FEW, *typed, "serving.source=drawn"], ROOT)
    wait_until(lambda: list(runs.glob("serving/*/*/worker.log")), parent)
    parent.send_signal(signal.SIGINT)
    _, stderr = parent.communicate()
    assert parent.returncode == 130
    assert "interrupted; the same command goes on from here" in stderr
    assert record_of(runs)["status"] == "interrupted"


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (["serving.method=rslora"], "holds no finished run of rslora: `python train.py task=sst2,"),
        (["serving.study=other"], "no finished run of lora of study other: "),
        (["serving.folders=[nowhere]"], "serving.folders names nowhere, which is no folder: it"),
        (["model.num_layers=3"], "were trained on another model=tiny: model.num_layers: 2 -> 3"),
        (["serving.slots=3"], "serving.slots has no effect with engine=hf, which has no server"),
        (["serving.server.port=80"], "serving.server.port has no effect with engine=hf"),
        (["serving.source=drawn", "serving.study=x"], "no effect with serving.source=drawn"),
        (["serving.max_tokens=2000"], "must together be at most the 512 positions of model=tiny"),
        (["serving.mix=even"], "serving.mix must be round_robin or uniform or zipf or one_hot"),
        (["serving.adapters=1,1"], "serving.adapters must be different, got [1, 1]"),
        (["serving.batch_sizes=0"], "serving.batch_sizes must be positive, got 0"),
        (["engine=vlm"], "engine must be vllm or vllm_server or hf, got vlm"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(typed, own, message):
    assert message in error_of(benchmark(*FEW, *typed, *own))


def test_runs_of_another_model_and_of_several_are_named(typed, tmp_path):
    other = ("engine=hf", *typed[len(MODEL) :], "model=local", f"model.path={tmp_path}")
    line = error_of(benchmark(*other))
    assert "model=local is not the base model of the runs of lora below" in line
    assert "model=tiny chooses theirs" in line
    path = tmp_path / "runs/main/mrpc/lora/seed=1/run.json"
    record = json.loads(path.read_text())
    record["fingerprints"]["base_model"] = "f" * 64
    path.write_text(json.dumps(record))
    line = error_of(benchmark(*FEW, *typed))
    assert "the adapters have different base models, tiny (main/sst2, digest" in line
    assert "tiny (main/mrpc, digest ffffffffffff)" in line and "serving.study=<name>" in line
    record["certificate"] = None
    path.write_text(json.dumps(record))
    shutil.rmtree(tmp_path / "runs/main/sst2")
    assert "has a certificate that its adapter was applied" in error_of(benchmark(*FEW, *typed))


def test_a_sweep_measures_its_cells_one_after_the_other_and_names_those_that_failed(
    typed, tmp_path, monkeypatch
):
    from loradrift.serving import bench

    measured = []

    def measure(cell, plan):
        measured.append(plan.mix)
        if plan.mix == "uniform":
            raise bench.failure(cell, plan, "memory", "out of memory: 9 GB")
        (cell.folder / "checks.json").write_text('{"answers": 1}')

    reports = []
    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(
        "loradrift.cli.benchmark_job.report", lambda config, cells: reports.append(cells)
    )
    done = benchmark(
        *FEW[:1], *typed, "serving.adapters=[1,2]", "-m", "serving.mix=uniform,zipf,even"
    )
    assert done.returncode == 1
    assert measured == ["uniform", "zipf"] and len(reports) == 1
    assert [cell.name.rpartition("serving.mix=")[2] for cell in reports[0]] == ["zipf"]
    assert "2 of 3 cells failed" in done.stdout
    assert "failed: out of memory: 9 GB; fewer serving.adapters or a" in done.stdout
    assert "serving.mix must be round_robin or uniform" in done.stderr
    states = {
        path.parent.name.rpartition("serving.mix=")[2]: json.loads(path.read_text())["status"]
        for path in (tmp_path / "runs/serving/hf").glob("*/run.json")
    }
    assert states == {"uniform": "out_of_memory", "zipf": "success"}
    done = benchmark(*FEW[:1], *typed, "-m", "seed=1,2", "hydra/launcher=joblib")
    assert "hydra/launcher=joblib: benchmark.py measures one cell after the other" in error_of(done)


@pytest.mark.end_to_end
def test_an_engine_that_is_given_another_adapter_s_weights_is_caught(typed, tmp_path, monkeypatch):
    from loradrift.serving import bench

    measure = bench.measure

    def give_mrpc_s(cell, plan):  # after what is exported was looked at
        sst2, mrpc = (Path(each.adapter, "adapter_model.safetensors") for each in plan.adapters)
        shutil.copyfile(mrpc, sst2)
        measure(cell, plan)

    with monkeypatch.context() as patch:
        patch.setattr(bench, "measure", give_mrpc_s)
        line = error_of(benchmark(*FEW, *typed))
    assert re.search(
        r"a wrong answer: \w+ at batch size \d, round 0, request \d: sst2 was asked and mrpc "
        r"answers so .* sst2's certificate: .*; what was measured is kept: 1 of 4 rounds",
        line,
    )
    assert record_of(tmp_path / "runs")["status"] == "failed"
    samples = read_rows(rounds(tmp_path / "runs")[0], Sample)
    wrong = {sample.asked for sample in samples if sample.answer == "differs"}
    assert wrong == {"sst2"}
    arms = {sample.arm for sample in samples if sample.answer == "differs"}
    assert arms == {"single_adapter", "multi_2_adapters"}  # and no merged model
    # the next command sees that the file is another one, and makes it again
    with pytest.warns(UserWarning, match="model.safetensors has changed since it was exported"):
        assert "force=true measures anew" in error_of(benchmark(*FEW, *typed))
    assert "force=true measures anew" in error_of(benchmark(*FEW, *typed))
