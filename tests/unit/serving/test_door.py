"""Keys that would have no effect, values that say nothing, and devices that are not there."""

from dataclasses import replace

import pytest
import torch
from simulated import make_plan

from loradrift.config import DataConfig, TrainerConfig, UserError
from loradrift.config.models import ModelConfig, TinyModelConfig
from loradrift.serving import door
from loradrift.serving.config import ServerConfig, ServingBenchmarkConfig, ServingConfig
from loradrift.serving.door import check_gpu, refuse_bare, refuse_idle_arms, refuse_idle_keys

LOCAL = ModelConfig(name="local", path="m")


def config_of(
    *, engine="vllm", trainer="cpu", accelerator="cpu", server=None, model=LOCAL, **serving
):
    return ServingBenchmarkConfig(
        engine=engine,
        model=model,
        data=DataConfig(name="embedded"),
        trainer=TrainerConfig(name=trainer, accelerator=accelerator),
        serving=ServingConfig(**serving, server=ServerConfig(**server or {})),
    )


@pytest.mark.parametrize(
    ("own", "typed", "message"),
    [
        ({}, "serving.rank=16", "serving.rank has no effect with serving.source=runs, whose"),
        ({}, "serving.server.rates=[1.0]", "serving.server.rates has no effect with serving.full"),
        (
            {"server": {"enabled": False}},
            "serving.server.requests=3",
            "serving.server.requests has no effect with serving.server.enabled=false",
        ),
        (
            {"server": {"enabled": False}, "full": True, "adapters": [1]},
            "serving.full=true",
            "serving.full has no effect with one adapter and no server",
        ),
        (
            {"engine": "vllm_server"},
            "serving.batch_sizes=[1]",
            "serving.batch_sizes has no effect with engine=vllm_server",
        ),
        ({}, "data=hub", "data has no effect with adapters of runs, whose prompts are rows of the"),
        ({}, "data.root=x", "data.root has no effect with adapters of runs"),
        ({}, "data.seed=1", "data.seed has no effect with adapters of runs"),
        (
            {"source": "drawn", "prompts": "fixed"},
            "data=hub",
            "data has no effect with serving.prompts=fixed",
        ),
        ({}, "trainer.devices=2", "trainer.devices has no effect with benchmark=serving"),
        ({}, "trainer.precision=bf16-mixed", "trainer.precision has no effect"),
        ({}, "scale.batch_size=8", "scale.batch_size has no effect with benchmark=serving, which"),
        ({}, "study.name=other", "study.name has no effect .*: serving.study names whose adapters"),
        ({"adapters": [1]}, "serving.mix=zipf", "serving.mix has no effect with one adapter"),
        ({}, "model.attention=eager", "model.attention has no effect with engines, which take"),
        (
            {"source": "drawn"},
            "data.train_rows=50",
            "data.train_rows has no effect with benchmark=serving, which trains nothing",
        ),
        ({"trainer": "ddp"}, "trainer=ddp", "trainer=ddp has no effect on an engine"),
    ],
)
def test_what_has_no_effect_is_refused(own, typed, message):
    config = config_of(**own)
    with pytest.raises(UserError, match=message):
        refuse_idle_keys(config, [typed])


@pytest.mark.parametrize(
    ("own", "typed"),
    [
        ({"source": "drawn"}, "serving.rank=16"),
        ({"source": "drawn"}, "data=hub"),
        ({"folders": ["nowhere"]}, "data=hub"),
        ({"model": TinyModelConfig(name="tiny")}, "data.seed=1"),
        ({"full": True}, "serving.server.rates=[1.0]"),
        ({"server": {"enabled": False}}, "serving.server.enabled=false"),
        ({"full": True, "server": {"enabled": False}}, "serving.full=true"),
        ({}, "trainer=cpu"),
        ({}, "trainer.threads=2"),
        ({}, "scale=small"),
        ({}, "serving.mix=zipf"),
        ({"model": TinyModelConfig(name="tiny")}, "model.attention=eager"),
    ],
)
def test_what_has_an_effect_is_not(own, typed):
    refuse_idle_keys(config_of(**own), [typed])


def test_rows_of_a_run_that_is_typed_are_its_own(tmp_path):
    from test_choice import write_run

    folders = [str(tmp_path), str(write_run(tmp_path, "a/sst2/lora/1") / "model")]
    with pytest.raises(UserError, match="data has no effect with adapters of runs"):
        refuse_idle_keys(config_of(folders=folders), ["data=hub"])


def test_without_vllm_and_without_adapters_both_commands_are_told(tmp_path, monkeypatch):
    def absent(engine):
        raise UserError(f"engine={engine} needs vLLM: `make serve-setup` makes it")

    config = replace(config_of(), runs=str(tmp_path))
    refuse_bare(replace(config, engine="hf"))
    monkeypatch.setattr(door, "check_installed", absent)
    with pytest.raises(UserError) as caught:
        refuse_bare(config)
    first, second = str(caught.value).split("; and ")
    assert first == "engine=vllm needs vLLM: `make serve-setup` makes it"
    assert second.startswith(f"{tmp_path} holds no finished run of lora: `python train.py task=")
    with pytest.raises(UserError, match="`make serve-setup` makes it$"):
        refuse_bare(config_of(source="drawn"))
    with pytest.raises(UserError, match="^engine=vllm_server needs vLLM"):
        refuse_bare(replace(config, engine="vllm_server"))
    refuse_bare(replace(config, engine="hf"))
    monkeypatch.setattr(door, "check_installed", lambda engine: None)
    refuse_bare(config)


def test_an_arm_that_would_be_like_another_one(capsys):
    plan, config = make_plan(declared_rank=8, slots=4), config_of(declared_rank=8, slots=4)
    with pytest.raises(UserError, match="serving.declared_rank must be above 8, .*, got 8"):
        refuse_idle_arms(plan, config, ["serving.declared_rank=8"])
    with pytest.raises(UserError, match="serving.slots must be less than 4, .*, got 4"):
        refuse_idle_arms(plan, config, ["serving.slots=4"])
    assert capsys.readouterr().out == ""
    refuse_idle_arms(plan, config, [])  # a default is no mistake: the cell is measured without it
    assert capsys.readouterr().out.splitlines() == [
        "serving.declared_rank=8 has no effect and its arm is left out: it is not above 8, which "
        "these adapters take without it",
        "serving.slots=4 has no effect and its arm is left out: it is not less than 4, the "
        "adapters",
    ]
    refuse_idle_arms(make_plan(), config_of(), ["serving.declared_rank=64", "serving.slots=2"])
    none = config_of(declared_rank=None)
    refuse_idle_arms(make_plan(declared_rank=None), none, ["serving.declared_rank=null"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"concurrency": []}, r"serving.server.concurrency must be at least one number, got \[\]"),
        ({"concurrency": [4, 4]}, r"serving.server.concurrency must be different, got \[4, 4\]"),
        ({"rates": [1.0, 1.0]}, "serving.server.rates must be different"),
    ],
)
def test_lists_of_a_server(server, message):
    with pytest.raises(UserError, match=message):
        ServerConfig(**server)


def test_a_gpu_is_looked_for_and_its_type_named_as_it_is_typed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_gpu(config_of())
    with pytest.raises(UserError, match="trainer.accelerator=gpu needs a GPU, this machine has"):
        check_gpu(config_of(engine="hf", accelerator="gpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"serving.dtype must be bfloat16 on a GPU.*got float32"):
        check_gpu(config_of(accelerator="gpu"))
    check_gpu(config_of(accelerator="gpu", dtype="bfloat16"))
    check_gpu(config_of(engine="hf", accelerator="gpu"))
