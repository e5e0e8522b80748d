"""Estimates of cells of which nothing like it is finished, with the rates of a small model."""

import os
import re
import signal
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from loradrift.config import UserError
from loradrift.study.costs import estimates, rows
from loradrift.study.costs.estimates import Estimates
from loradrift.study.costs.measuring import Clock, chosen
from loradrift.study.costs.work import OnlyLengths

RUN = ("task=sst2", "task.max_steps=12", "task.batch_size=4", "callbacks.forgetting.tokens=1024")


@pytest.fixture
def here(monkeypatch):
    """Measuring happens in this process; gives the configurations that were measured."""
    measured = []

    class Pool:
        def __init__(self, *arguments, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def submit(self, function, config, *arguments):
            measured.append((config.method.name, config.task.name))
            done = Future()
            done.set_result(function(config, *arguments))
            return done

    monkeypatch.setattr(estimates, "ProcessPoolExecutor", Pool)
    return measured


@pytest.fixture
def configs(load, model_folder, cache, monkeypatch):
    """``configs(*overrides)``: one for each method of a small study."""

    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)

    def make(*overrides, methods=("full_finetune", "lora")):
        named = any(each.startswith("model=") for each in overrides)
        typed = [
            *RUN, *([] if named else ["model=local", f"model.path={model_folder}"]),
            f"cache={cache}", *overrides,
        ]  # fmt: skip
        return [load(f"method={method}", *typed) for method in methods]

    return make


def test_rates_are_measured_once_and_serve_every_cell_of_the_same_training(configs, here, capsys):
    full, lora = configs()
    first = Estimates(threads=1)
    other_rate = replace(lora, method=replace(lora.method, optim=replace(lora.method.optim, lr=1)))
    first.measure([full, lora, replace(lora, seed=7), other_rate])
    assert here == [("full_finetune", "sst2"), ("lora", "sst2")]
    assert "measuring a few steps of full_finetune, lora" in capsys.readouterr().out
    assert first.seconds(other_rate) == first.seconds(lora)
    assert not list(Path(lora.cache).glob("measuring-*"))
    again = Estimates(threads=1)
    again.measure([full, lora])
    assert len(here) == 2 and capsys.readouterr().out == ""
    assert again.seconds(lora) == first.seconds(lora)
    measured = again._rates[again.group(lora)].peak_bytes
    assert again.peak_bytes(lora) == round(1.3 * measured) > 50 * 2**20
    longer = replace(lora, task=replace(lora.task, max_steps=2400))
    assert again.seconds(longer) > 20 * again.seconds(lora)
    zero_shot, majority = configs(methods=("zero_shot", "majority"))
    assert again.seconds(zero_shot) > again.seconds(majority) > 0
    [rank] = configs("method.rank=4", methods=("lora",))
    assert again.seconds(rank) == "not measured"


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["trainer=ddp"], "several devices are not measured"),
        (["model=tinyllama"], "TinyLlama/.* is not on this machine yet"),
        (["model=tiny", "model.vocab_size=300"], "model=tiny is made by the first run"),
        (["trainer=gpu"], "trainer.accelerator=gpu needs 1 GPU, this machine has 0"),
    ],
)
def test_what_cannot_be_measured_is_unknown_and_says_why(configs, here, tmp_path, overrides, why):
    [config] = configs(f"cache={tmp_path}", *overrides, methods=("lora",))
    found = Estimates(threads=1)
    found.measure([config])
    assert re.match(why, found.seconds(config)) and re.match(why, found.peak_bytes(config))
    assert not here


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)  # as the system does where memory is too little


@pytest.mark.parametrize(
    ("lacking", "why"),
    [
        (MemoryError(), "measuring lora takes more memory than there is"),
        (torch.OutOfMemoryError("CUDA out of memory"), "measuring lora takes more memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "measuring lora takes more"),
        (None, "the process that measured lora was killed"),
    ],
)
def test_a_lack_of_memory_while_measuring_is_told_and_leaves_nothing(
    configs, here, monkeypatch, lacking, why
):
    [config] = configs("task.max_steps=13", "task.batch_size=3", methods=("lora",))
    if lacking is None:
        monkeypatch.undo()  # in a process of its own
        monkeypatch.setattr(estimates, "get_context", lambda _: get_context("fork"))
        monkeypatch.setattr(estimates, "measure", killed)
    else:
        monkeypatch.setattr(estimates, "measure", Mock(side_effect=lacking))
    found = Estimates(threads=1)
    found.measure([config])
    assert found.seconds(config).startswith(why) and found.peak_bytes(config).startswith(why)
    assert not list(Path(config.cache).glob("measuring-*"))


def test_seconds_on_a_cpu_are_those_of_an_idle_machine_with_so_many_threads(monkeypatch):
    cpu = iter([10.0, 18.0])
    monkeypatch.setattr("time.process_time", lambda: next(cpu))
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    assert Clock("cpu").seconds() == 2.0


def test_a_model_on_the_hub_needs_its_weights_on_this_machine(configs, monkeypatch, tmp_path):
    """The configuration and tokenizer alone are a snapshot too."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **options: str(tmp_path))
    monkeypatch.setattr(rows, "check_path", lambda model: None)
    typed = ("model=local", "model.path=some/model")
    [config], [drawn] = (
        configs(*typed, *own, methods=("lora",)) for own in ([], ["model.weights=random"])
    )
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="the weights of some/model are not on this machine yet"):
        rows.local_model(config)
    assert rows.local_model(drawn) == drawn.model  # which has none
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert rows.local_model(config) == config.model


def test_a_batch_is_made_of_rows_of_the_wanted_length():
    table = OnlyLengths(np.array([3, 9, 4, 30, 5]))
    assert sorted(chosen(table, 2, 8)) == [0, 2]
    assert chosen(table, 2, 60).tolist()[0] == 3
    assert len(chosen(OnlyLengths(np.array([10, 10, 10, 10])), 4, 20)) == 2
