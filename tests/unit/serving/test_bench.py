"""What the front process says of a cell, and what makes two of them the same."""

import json
import signal
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from simulated import make_plan

from loradrift.config import benchmarks
from loradrift.serving import bench


@pytest.fixture
def cell(tmp_path):
    return SimpleNamespace(folder=tmp_path)


def test_what_is_kept_is_told_of_both_parts(cell):
    plan = make_plan(rounds=5)
    assert "kept" not in str(bench.failure(cell, plan, "user", "it failed"))
    for name in ("rounds/round=000", "server/closed_loop-1-round=000", "server/open_loop-1-r"):
        path = cell.folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    line = str(bench.failure(cell, plan, "user", "it failed"))
    assert line == ("it failed; what was measured is kept: 1 of 5 rounds and 2 loads of the server")
    # what was killed can be started again, and a mistake of the user's cannot
    line = str(bench.failure(cell, plan, "ended", "it ended"))
    assert line == (
        "it ended; what was measured is kept: 1 of 5 rounds and 2 loads of the server; the same "
        "command goes on"
    )
    line = str(bench.failure(cell, plan, "vanished", "adapter sst2 has vanished"))
    assert line.startswith("adapter sst2 has vanished; exports are kept below cache=.cache, and ")
    (cell.folder / "rounds/round=000.parquet").unlink()
    assert bench.what_is_kept(cell.folder) == "2 loads of the server"


def test_a_kill_by_the_system_names_what_takes_less(cell, monkeypatch):
    code = -signal.SIGKILL

    @contextmanager
    def ended(command, **how):
        yield SimpleNamespace(poll=lambda: code)

    monkeypatch.setattr(bench, "supervised", ended)
    with pytest.raises(bench.UserError, match=r"\(SIGKILL\), for lack of memory if nobody has"):
        bench.measure(cell, make_plan())
    code = -signal.SIGTERM
    with pytest.raises(bench.UserError) as caught:
        bench.measure(cell, make_plan())
    assert "lack of memory" not in str(caught.value)


def test_versions_are_those_of_what_computes():
    import torch

    found = bench.versions(make_plan())["torch"]
    assert torch.__version__.startswith(found.partition("+")[0])
    assert bench.versions(make_plan(engine="hf")).keys() == {"torch", "transformers", "peft"}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a cell whose measurement is a note, on this machine or a made-up one."""
    from loradrift.config import DataConfig, TrainerConfig
    from loradrift.config.models import ModelConfig
    from loradrift.serving.config import ServingBenchmarkConfig
    from loradrift.serving.plan import ServerPlan
    from loradrift.serving.planning import Prepared

    measured = []

    def call(*, port=None, fails=False, **machine):
        plan = replace(make_plan(), server=ServerPlan((1,), 2, (), port, 300.0))
        monkeypatch.setattr(bench, "refuse_bare", lambda config: None)
        monkeypatch.setattr(bench, "prepare", lambda config: Prepared(plan, [], {"prompts": ""}))
        for name, value in machine.items():
            monkeypatch.setattr(bench, name, lambda plan, value=value: value)

        def measure(cell, plan):
            measured.append(cell.folder)
            if fails:
                raise bench.UserError("it failed")
            (cell.folder / "checks.json").write_text("{}")

        monkeypatch.setattr(bench, "measure", measure)
        config = ServingBenchmarkConfig(
            model=ModelConfig(name="local", path="m"),
            data=DataConfig(name="embedded"),
            trainer=TrainerConfig(name="cpu"),
            runs=str(tmp_path),
        )
        bench.run(config, [])
        return measured

    return call


def test_a_cell_goes_on_with_the_same_vllm_and_device_only(run):
    here = {"versions": {"vllm": "0.32.0"}, "device": "cpu (2 threads)"}
    with pytest.raises(bench.UserError, match="it failed"):
        run(**here, fails=True)
    with pytest.raises(bench.UserError, match=r"versions.vllm: 0.32.0 -> 0.33.0; force=true"):
        run(**here | {"versions": {"vllm": "0.33.0"}})
    with pytest.raises(bench.UserError, match=r"device: cpu \(2 threads\) -> cpu \(4 threads\)"):
        run(**here | {"device": "cpu (4 threads)"})
    assert len(run(**here)) == 2


def test_a_cell_from_before_versions_were_kept_asks_for_force_in_one_line(run, tmp_path):
    here = {"versions": {"vllm": "0.32.0"}, "device": "Xeon, 1 CPU thread"}
    with pytest.raises(bench.UserError, match="it failed"):
        run(**here, fails=True)
    [path] = tmp_path.glob("serving/vllm/*/run.json")
    record = json.loads(path.read_text())
    for key in ("versions", "device"):
        del record["config"][key]
    for status in ("failed", "success"):
        path.write_text(json.dumps(record | {"status": status}))
        with pytest.raises(bench.UserError) as caught:
            run(**here)
        assert str(caught.value) == (
            f"{path.parent} holds a run with another configuration: device: (absent) -> Xeon, "
            "1 CPU thread, versions.vllm: (absent) -> 0.32.0; force=true archives it and starts "
            "anew"
        )


def test_a_device_is_named_with_its_threads(monkeypatch, tmp_path):
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor\t: 0\nmodel name\t: Xeon 9\n\nmodel name\t: Xeon 9\n")
    monkeypatch.setattr(benchmarks, "CPU_FACTS", facts)
    assert bench.device(make_plan(threads=1)) == "Xeon 9, 1 CPU thread"
    assert bench.device(make_plan(threads=4)) == "Xeon 9, 4 CPU threads"
    monkeypatch.setattr(benchmarks, "CPU_FACTS", tmp_path / "absent")
    monkeypatch.setattr(benchmarks.platform, "machine", lambda: "arm64")
    assert bench.device(make_plan(threads=2)) == "arm64, 2 CPU threads"


def test_a_port_in_use_is_told_before_anything_is_measured(run):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(bench.UserError, match=f"serving.server.port={port} is in use"):
            run(port=port)
    assert run(port=port)  # and then it is the first that is measured
