"""What vLLM can serve, told from files alone; no vLLM is needed here."""

import json
import shutil
from dataclasses import replace

import pytest
from adapter_cases import (
    CONFIG,
    WEIGHTS,
    read_config,
    rewrite,
    tensors_of,
    write_adapter,
    write_base,
)
from safetensors.torch import load_file, save_file

from loradrift.adapters import read_files
from loradrift.config import UserError
from loradrift.generation import EngineSettings, open_engine, vllm_rules
from loradrift.generation.errors import AdapterVanished
from loradrift.generation.vllm_adapters import stamp_of
from loradrift.weights import StoredWeights


@pytest.fixture
def folder(model_folder, tmp_path):
    return write_adapter(tmp_path / "adapter", model_folder, r=6)


def rank_of(folder, model_folder):
    return vllm_rules.check_adapter(read_files(folder), StoredWeights(model_folder))


def test_a_healthy_adapter_has_its_largest_rank(adapters, model_folder):
    ranks = {name: rank_of(folder, model_folder) for name, folder in adapters.items()}
    assert ranks == {"plain": 4, "wide": 9, "uneven": 4}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"r": 513}, "r must be at most 512 for vLLM, got 513"),
        ({"rank_pattern": {"q_proj": 600}}, "rank_pattern must be at most 512 .*got 600"),
        ({"use_dora": True}, "use_dora must be false for vLLM, got true"),
        ({"lora_bias": True}, "lora_bias must be false for vLLM, got true"),
        ({"bias": "all"}, "bias must be none for vLLM, got all"),
        ({"init_lora_weights": "pissa_niter_4"}, "leaves the base weights alone.*pissa_niter_4"),
        ({"modules_to_save": ["score", "lm_head"]}, "none but classifier and score.*got lm_head"),
    ],
)
def test_an_adapter_that_vllm_does_not_take(folder, model_folder, values, message):
    (folder / CONFIG).write_text(json.dumps(read_config(folder) | values))
    with pytest.raises(UserError, match=message) as caught:
        rank_of(folder, model_folder)
    assert f"benchmark=export run={folder}` makes a merged model" in str(caught.value)
    assert str(caught.value).startswith(str(folder / CONFIG))


WIDE = {
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "both": {"target_modules": ["embed_tokens", "lm_head"]},
}


@pytest.fixture(scope="module", params=[False, True])
def tied_or_not(request, tmp_path_factory):
    size = {"num_key_value_heads": 2, "tie_word_embeddings": request.param}
    return write_base(tmp_path_factory.mktemp("base") / "model", "llama", **size)


@pytest.mark.parametrize("kind", WIDE)
def test_embedding_and_head_may_be_adapted(kind, tied_or_not, tmp_path):
    folder = write_adapter(tmp_path / kind, tied_or_not, r=6, **WIDE[kind])
    assert rank_of(folder, tied_or_not) == 6
    assert any(key.endswith(".base_layer.weight") for key in tensors_of(folder))


@pytest.mark.parametrize("kind", ["embedding", "head"])
def test_factors_of_another_embedding_or_head(kind, tied_or_not, tmp_path):
    folder = write_adapter(tmp_path / kind, tied_or_not, **WIDE[kind])
    key = {"embedding": "embed_tokens", "head": "lm_head"}[kind]

    def moved(tensors):
        return {k: x + 0.1 * (f"{key}.base_layer" in k) for k, x in tensors.items()}

    whole = tensors_of(folder)
    rewrite(folder, moved)  # as of a base that was trained too, or had tokens added
    with pytest.raises(UserError, match=rf"{key}.base_layer.weight must be the base's own weight"):
        rank_of(folder, tied_or_not)
    part = {"embedding": "embedding_A", "head": "lm_head.lora_B"}[kind]
    save_file({k: x for k, x in whole.items() if part not in k}, folder / WEIGHTS)
    with pytest.raises(UserError, match="lora_"):
        rank_of(folder, tied_or_not)
    other = write_base(tmp_path / "other", "llama", num_key_value_heads=2, vocab_size=65)
    save_file(whole, folder / WEIGHTS)
    with pytest.raises(UserError, match=rf"{key} changes a weight of shape .*65.* there"):
        rank_of(folder, other)


@pytest.mark.parametrize(
    ("family", "target", "says"),
    [
        ("mistral", "embed_tokens", "factors of embed_tokens with MistralForCausalLM"),
        ("gpt2", "wte", "factors of wte with GPT2LMHeadModel"),
    ],
)
def test_a_model_whose_embedding_vllm_does_not_adapt(family, target, says, tmp_path):
    base = write_base(tmp_path / "base", family, num_key_value_heads=2)
    folder = write_adapter(tmp_path / "adapter", base, target_modules=[target])
    with pytest.raises(UserError, match=f"vLLM does not serve {says}; .*benchmark=export run="):
        rank_of(folder, base)


def test_a_head_that_is_tied_to_an_adapted_embedding_does_not_follow_it(tmp_path):
    base = write_base(tmp_path / "base", "llama", tie_word_embeddings=True)
    own = {"target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True}
    folder = write_adapter(tmp_path / "adapter", base, **own)
    with pytest.raises(UserError, match=r"another module \(ensure_weight_tying\); .*=export run="):
        rank_of(folder, base)


def test_an_adapter_of_another_model(folder, model_folder, tmp_path):
    other = shutil.copytree(model_folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layers.1" not in k}, other / "model.safetensors"
    )
    with pytest.raises(UserError, match="layers.1"):
        rank_of(folder, other)


@pytest.mark.parametrize(
    ("rank", "declared", "reserved"),
    [(1, None, 1), (4, None, 8), (8, None, 8), (9, None, 16), (200, None, 256), (8, 64, 64),
     (300, None, 320), (512, None, 512), (3, 5, 8)],
)  # fmt: skip
def test_ranks_are_reserved_in_the_engines_steps(settings, rank, declared, reserved):
    assert vllm_rules.lora_rank(replace(settings, max_lora_rank=declared), rank) == reserved


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (4, "max_lora_rank must be at least 9, the adapters' largest rank, got 4"),
        (600, "max_lora_rank must be at most 512 for vLLM, got 600"),
    ],
)
def test_ranks_that_cannot_be_reserved(settings, declared, message):
    with pytest.raises(UserError, match=message):
        vllm_rules.lora_rank(replace(settings, max_lora_rank=declared), 9)


def test_a_cpu_keeps_a_slot_for_the_base_model(settings):
    assert vllm_rules.lora_slots(settings) == 4
    assert vllm_rules.lora_slots(replace(settings, accelerator="gpu")) == 3
    assert vllm_rules.lora_slots(replace(settings, max_loras=2)) == 2
    assert vllm_rules.lora_slots(replace(settings, adapters={}, lora=True)) == 1


def test_engine_arguments(settings):
    options = vllm_rules.engine_options(settings, 9)
    assert options["dtype"] == "float32" and options["enforce_eager"] is True
    assert options["enable_prefix_caching"] is False
    assert (options["max_loras"], options["max_cpu_loras"], options["max_lora_rank"]) == (4, 4, 16)
    assert "gpu_memory_utilization" not in options
    plain = vllm_rules.engine_options(replace(settings, adapters={}), 1)
    assert not [key for key in plain if "lora" in key]
    gpu = vllm_rules.engine_options(replace(settings, accelerator="gpu", dtype="bfloat16"), 9)
    assert gpu["dtype"] == "bfloat16" and gpu["enforce_eager"] is False
    assert gpu["kv_cache_memory_bytes"] == settings.kv_cache_bytes
    whole = replace(settings, accelerator="gpu")
    with pytest.raises(UserError, match="dtype must be bfloat16 for .* on a GPU, got float32"):
        vllm_rules.engine_options(whole, 9)
    vllm_rules.engine_options(replace(whole, adapters={}), 1)
    with pytest.raises(UserError, match="max_cpu_loras must be at least 3, max_loras, got 2"):
        vllm_rules.engine_options(replace(settings, max_loras=3, max_cpu_loras=2), 8)


def test_variables(settings):
    cpu = vllm_rules.environment(replace(settings, threads=2))
    assert (cpu["VLLM_CPU_OMP_THREADS_BIND"], cpu["OMP_NUM_THREADS"]) == ("nobind", "2")
    assert "OMP_NUM_THREADS" not in vllm_rules.environment(settings)
    gpu = vllm_rules.environment(replace(settings, accelerator="gpu", threads=2))
    assert not [key for key in gpu if "CPU" in key or "OMP" in key]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head_dim": 16}, "attention heads must be one of 32, 48, .* a CPU, got 16; engine=hf"),
        ({"head_dim": None, "num_attention_heads": 4}, "a CPU, got 8; engine=hf serves it"),
        ({"max_position_embeddings": 32}, "max_length must be at most 32, .*got 64"),
    ],
)
def test_a_model_that_vllm_does_not_take(settings, tmp_path, values, message):
    config = json.loads((settings.model / "config.json").read_text()) | values
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        vllm_rules.check_model(replace(settings, model=tmp_path))


def test_a_gpu_has_no_such_heads(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    config = json.loads((settings.model / "config.json").read_text()) | {"head_dim": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    vllm_rules.check_model(replace(settings, model=tmp_path, accelerator="gpu"))


def test_without_vllm_the_commands_are_named(settings, monkeypatch):
    monkeypatch.setattr(vllm_rules, "find_spec", lambda name: None)
    commands = "`make serve-setup` makes it on a CPU, `pip install '.*serve.*'` on a GPU"
    for engine in ("vllm", "vllm_server"):
        line = f"^engine={engine} needs vLLM, which is not installed: {commands}; engine=hf needs"
        with pytest.raises(UserError, match=line):
            open_engine(engine, settings).__enter__()


def test_files_that_change_are_seen(folder):
    before = vllm_rules.stamp(folder)
    assert vllm_rules.stamp(folder) == before
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes() + b" ")
    assert vllm_rules.stamp(folder) != before
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="can no longer be read: No such file"):
        vllm_rules.stamp(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dtype": "auto"}, "dtype must be float32 or bfloat16, got auto"),
        ({"max_loras": 0}, "max_loras must be positive, got 0"),
        ({"threads": 0}, "threads must be positive, got 0"),
    ],
)
def test_settings_are_judged(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        EngineSettings(tmp_path, **values)


def test_an_adapter_that_vanishes_is_named(folder):
    stamp = stamp_of("sst2", folder)
    assert stamp_of("sst2", folder) == stamp == vllm_rules.stamp(folder)
    shutil.rmtree(folder)
    with pytest.raises(AdapterVanished, match=f"^adapter sst2 has vanished: {folder} can no"):
        stamp_of("sst2", folder)
