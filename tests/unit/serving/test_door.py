"""Keys that would have no effect, values that say nothing, and devices that are not there."""

import pytest
import torch
from simulated import make_plan

from loradrift.config import DataConfig, TrainerConfig, UserError
from loradrift.config.models import ModelConfig
from loradrift.serving.config import ServerConfig, ServingBenchmarkConfig, ServingConfig
from loradrift.serving.door import check_gpu, refuse_idle_arms, refuse_idle_keys


def config_of(*, engine="vllm", trainer="cpu", accelerator="cpu", server=None, **serving):
    return ServingBenchmarkConfig(
        engine=engine,
        model=ModelConfig(name="local", path="m"),
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
        ({}, "trainer.devices=2", "trainer.devices has no effect with benchmark=serving"),
        ({}, "trainer.precision=bf16-mixed", "trainer.precision has no effect"),
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
        ({"full": True}, "serving.server.rates=[1.0]"),
        ({"server": {"enabled": False}}, "serving.server.enabled=false"),
        ({"full": True, "server": {"enabled": False}}, "serving.full=true"),
        ({}, "trainer=cpu"),
        ({}, "trainer.threads=2"),
    ],
)
def test_what_has_an_effect_is_not(own, typed):
    refuse_idle_keys(config_of(**own), [typed])


def test_an_arm_that_would_be_like_another_one():
    plan, config = make_plan(declared_rank=8, slots=4), config_of(declared_rank=8, slots=4)
    with pytest.raises(UserError, match="serving.declared_rank must be above 8, .*, got 8"):
        refuse_idle_arms(plan, config, ["serving.declared_rank=8"])
    with pytest.raises(UserError, match="serving.slots must be less than 4, .*, got 4"):
        refuse_idle_arms(plan, config, ["serving.slots=4"])
    refuse_idle_arms(plan, config, [])
    refuse_idle_arms(make_plan(), config_of(), ["serving.declared_rank=64", "serving.slots=2"])
    none = config_of(declared_rank=None)
    refuse_idle_arms(make_plan(declared_rank=None), none, ["serving.declared_rank=null"])


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
