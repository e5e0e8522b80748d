"""A run's wall time and peak of memory are its own; an error keeps its kind across processes."""

import time
from pathlib import Path

import pytest
from torch.multiprocessing.spawn import ProcessRaisedException

from loradrift.config import UserError
from loradrift.runs import open_run
from loradrift.sweeping.storage import StorageUnusable
from loradrift.training import prepared_data
from loradrift.training.distributed import _join
from loradrift.training.resources import peak_memory_bytes, reset_peak_memory
from loradrift.training.run import check_device, run

MAKING_S = 0.5
MIB = 2**20


def test_making_the_base_model_is_not_in_the_wall_time(load, model, cache, tmp_path, monkeypatch):
    resolve = prepared_data.resolve_model

    def slow(*arguments):
        time.sleep(MAKING_S)
        return resolve(*arguments)

    monkeypatch.setattr(prepared_data, "resolve_model", slow)
    monkeypatch.setattr(prepared_data, "_kept", {})  # of an earlier run, which would not ask for it
    config = load(
        "method=majority", "model=local", f"model.path={model.path}",
        f"cache={cache}", f"runs={tmp_path}/runs",
    )  # fmt: skip
    began = time.perf_counter()
    with open_run(config) as cell:
        record = run(config, cell)
    whole = time.perf_counter() - began
    assert 0 < record.performance["wall_time_s"] <= whole - MAKING_S


def test_the_peak_of_memory_is_measured_from_the_reset_on():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system has no /proc/self/clear_refs")
    reset_peak_memory()
    before = peak_memory_bytes("cpu")
    pieces = [b"x" * (100_000 + i) for i in range(2000)]  # small enough to come from the heap
    cycle: list[object] = [pieces]
    cycle.append(cycle)
    assert peak_memory_bytes("cpu") > before + 150 * MIB
    del pieces, cycle
    reset_peak_memory()
    assert peak_memory_bytes("cpu") < before + 20 * MIB


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_measures_resident_memory(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 5)
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda: 1 / 0)  # would begin CUDA
    reset_peak_memory()
    assert peak_memory_bytes("cpu") > MIB
    assert peak_memory_bytes("gpu") == 5


def test_a_training_process_hands_on_what_kind_of_error_ended_it():
    class Processes:
        def join(self):
            trace = "Traceback\n\nloradrift.sweeping.storage.StorageUnusable: storage=x: is locked"
            raise ProcessRaisedException(trace, 0, 7)

    with pytest.raises(StorageUnusable, match=r"^storage=x: is locked$"):
        _join(Processes())


def test_more_processes_than_cores_are_refused_before_any_is_started(load, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    check_device(load("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"))
    many = load("trainer=ddp", "trainer.devices=100", "trainer.accelerator=cpu")
    with pytest.raises(UserError, match=r"trainer.devices must be at most 2, the CPU cores .* 100"):
        check_device(many)
