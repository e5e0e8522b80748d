"""What engine=hf refuses, in one line; it goes on working."""

from dataclasses import replace

import peft
import pytest
import torch
from adapter_cases import WEIGHTS, rewrite, write_adapter

from loradrift.config import UserError
from loradrift.generation import Intervention, Request, Sampling, hf, open_engine

TWO = Sampling(max_tokens=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_loras": 2}, "max_loras has no effect with engine=hf, got 2"),
        ({"max_lora_rank": 8}, "max_lora_rank has no effect with engine=hf, got 8"),
        ({"max_length": 65}, "max_length must be at most 64, .*max_position_embeddings, got 65"),
        ({"accelerator": "gpu"}, "accelerator=gpu needs a GPU, this machine has none"),
    ],
)
def test_settings_that_cannot_be(settings, change, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message), open_engine("hf", replace(settings, **change)):
        pass


def test_a_folder_that_is_no_model(settings, tmp_path):
    nowhere = replace(settings, model=tmp_path)
    with pytest.raises(UserError, match="is no model: it has no config.json"):
        open_engine("hf", nowhere).__enter__()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("7", (1,), "other"), "7 asks for the adapter other, .*has plain, wide, uneven"),
        (Request("7", ()), "request 7 has an empty prompt"),
        (Request("7", (1,) * 63), r"at most 64 tokens \(max_length\).* got 63 \+ 2"),
        (Request("7", (1, -1)), "token ids must be from 0 to 2.., .* got -1"),
        (Request("7", (1, 300000)), "token ids must be from 0 to 2.., .* got 300000"),
        (
            Request("7", (1,), None, (Intervention(2, (0.0,) * 32, 1.0),)),
            "request 7: its intervention's layer must be from 0 to 1, got 2",
        ),
        (
            Request("7", (1,), None, (Intervention(0, (0.0,) * 31, 1.0),)),
            "its intervention's vector must have 32 values, got 31",
        ),
        (
            Request("7", (1,), None, (Intervention(0, (1.0,) * 32, 1e39),)),
            "vector must keep its square finite in float32 times its coefficient, got 1e.39",
        ),
    ],
)
def test_requests_that_cannot_be_answered(engine, request_, message):
    good = Request("0", (1, 40), "plain")
    with pytest.raises(UserError, match=message):
        engine.generate([good, request_], TWO)
    assert len(engine.generate([good], TWO)[0].token_ids) == 2


def test_an_id_stands_for_one_request(engine):
    with pytest.raises(UserError, match="request 0 is given twice"):
        engine.generate([Request("0", (1,)), Request("0", (2,))], TWO)


def test_a_name_stands_for_one_adapter(engine, settings):
    with pytest.raises(UserError, match="has an adapter plain already; unload it first"):
        engine.load_adapter("plain", settings.adapters["plain"])
    with pytest.raises(UserError, match="the engine has no adapter other"):
        engine.unload_adapter("other")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: {k.replace("layers.1", "layers.7"): v for k, v in x.items()}, "layers.7"),
        (lambda x: {k: v for k, v in x.items() if "1.mlp.down_proj.lora_B" not in k}, "lora_B"),
        (lambda x: {k: v * float("nan") for k, v in x.items()}, "NaN"),
        (lambda x: x | {"base_model.model.score.weight": torch.ones(2, 32)}, "score.weight"),
    ],
)
def test_an_adapter_that_would_not_be_all_applied(engine, model_folder, tmp_path, spoil, message):
    folder = write_adapter(tmp_path / "bad", model_folder)
    rewrite(folder, spoil)
    with pytest.raises(UserError, match=message):
        engine.load_adapter("bad", folder)
    assert len(engine.generate([Request("0", (1,), "plain")], TWO)[0].token_ids) == 2


def test_a_vanished_adapter(engine, tmp_path):
    with pytest.raises(UserError, match="adapter gone: there is no folder .*gone$"):
        engine.load_adapter("gone", tmp_path / "gone")


def test_what_peft_loses_is_found(engine, settings, monkeypatch):
    load = peft.set_peft_model_state_dict

    def lossy(model, weights, **options):
        return load(model, {k: v for k, v in weights.items() if ".0." not in k}, **options)

    monkeypatch.setattr(peft, "set_peft_model_state_dict", lossy)
    before = engine.generate([Request("0", (1,), "plain")], TWO)[0].token_ids
    with pytest.raises(UserError, match="is not in the model as it is in the file"):
        engine.load_adapter("lossy", settings.adapters["plain"])
    with pytest.raises(UserError, match="does not have; it has plain, wide, uneven"):
        engine.generate([Request("0", (1,), "lossy")], TWO)
    assert engine.generate([Request("0", (1,), "plain")], TWO)[0].token_ids == before


def test_another_scale_is_found(engine, model_folder, tmp_path, monkeypatch):
    read = peft.LoraConfig.from_pretrained

    def louder(folder):
        config = read(folder)
        config.lora_alpha *= 2
        return config

    monkeypatch.setattr(peft.LoraConfig, "from_pretrained", louder)
    folder = write_adapter(tmp_path / "adapter", model_folder)
    with pytest.raises(UserError, match=r"PEFT scales .*q_proj by 4\.0, not 2\.0"):
        engine.load_adapter("louder", folder)


def test_too_little_memory_is_a_memory_error(engine, monkeypatch):
    def full(*_args, **_options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(hf, "decode", full)
    with pytest.raises(MemoryError, match="engine=hf failed: DefaultCPUAllocator"):
        engine.generate([Request("0", (1,))], TWO)


def test_a_damaged_file_is_named(engine, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "bad", model_folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])
    with pytest.raises(UserError, match="adapter_model.safetensors cannot be read"):
        engine.load_adapter("bad", folder)
