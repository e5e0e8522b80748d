"""Healthy adapters of every kind pass: no false alarm."""

import adapter_cases as cases
import pytest
import torch
from adapter_cases import CLASSIFIER, certificate_of, judged, load_adapter, rewrite, write_adapter
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForCausalLM

from loradrift.adapters import read_files
from loradrift.adapters.base_checks import alike, open_stored, reader
from loradrift.adapters.file_checks import check_fit

HEALTHY = {
    "rank 1": {"r": 1},
    "rank 16": {"r": 16, "lora_alpha": 1},
    "attention": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    "all-linear": {"target_modules": "all-linear"},
    "by pattern": {"target_modules": r".*\.0\.(self_attn\.q_proj|mlp\.up_proj)"},
    "one layer": {"layers_to_transform": [1]},
    "without some": {"target_modules": "all-linear", "exclude_modules": ["gate_proj"]},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "dora rslora": {"use_dora": True, "use_rslora": True, "r": 8},
    "gaussian": {"init_lora_weights": "gaussian"},
    "pissa converted": {"init_lora_weights": "pissa"},
    "olora converted": {"init_lora_weights": "olora"},
    "pissa as it is": {"init_lora_weights": "pissa", "convert": False},
    "olora as it is": {"init_lora_weights": "olora", "convert": False, "use_rslora": True},
    "patterns": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 6},
                 "alpha_pattern": {"v_proj": 3}},
    "patterns rslora": {"rank_pattern": {"q_proj": 2}, "use_rslora": True},
    "lora_bias": {"lora_bias": True},
    "dropout": {"lora_dropout": 0.5},
    "small change": {"size": 1e-4},
    "large change": {"size": 1.0},
    "a saved module": {"modules_to_save": ["lm_head"]},
    "embedding too": {"target_modules": ["embed_tokens", "q_proj", "v_proj"]},
    "tied embedding": {"target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True},
    "rows of the embedding": {"trainable_token_indices": [1, 2]},
    "a bare transformer": {"kind": AutoModel},
    "a classifier": CLASSIFIER,
}  # fmt: skip


def check(certificate):
    assert certificate.passed, certificate.verdict
    assert not certificate.failures
    return certificate


@pytest.mark.parametrize("config", HEALTHY.values(), ids=HEALTHY)
def test_it_passes(config, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, **config)
    kind = config.get("kind", AutoModelForCausalLM)
    model = load_adapter(folder, model_folder, kind, pad_token_id=3)
    certificate = check(certificate_of(model, folder, model_folder))
    assert certificate["base"].passed and certificate["merged_once"].passed
    assert "task_type" not in config or "score" in certificate["head"].message
    alone = certificate_of(model, folder, None)
    if config in (HEALTHY["rank 16"], HEALTHY["small change"]):
        assert alone.passed is None
        assert "no stored base to compare with, and too small a change" in alone.verdict
    else:
        check(alone)


@pytest.mark.parametrize("size", [0.05, 0.01, 0.002])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision(dtype, size, model_folder, tmp_path):
    """A small change is rounded with the output that it is added to: that is no fault."""
    folder = write_adapter(tmp_path / "adapter", model_folder, size=size)
    check(judged(folder, model_folder, dtype=dtype))


def test_an_adapter_in_half_precision(folder, model_folder):
    rewrite(folder, lambda tensors: {key: x.bfloat16() for key, x in tensors.items()})
    model = load_adapter(folder, model_folder, dtype=torch.bfloat16).bfloat16()
    check(certificate_of(model, folder, model_folder))


TRANSPOSED = {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}
OTHER_BASES = {
    "transposed linear layers": ("gpt2", TRANSPOSED),
    "transposed dora": ("gpt2", TRANSPOSED | {"use_dora": True}),
    "no trained biases": ("llama", {"bias": "none"}),
    "trained biases of LoRA layers": ("llama", {"bias": "lora_only"}),
    "all biases trained": ("llama", {"bias": "all"}),  # and no sign of another base
}


@pytest.mark.parametrize(("family", "config"), OTHER_BASES.values(), ids=OTHER_BASES)
def test_transposed_layers_and_biases(family, config, tmp_path):
    biases = {"attention_bias": True, "mlp_bias": True} if family == "llama" else {}
    base = cases.write_base(tmp_path / "base", family, **biases)
    assert check(judged(write_adapter(tmp_path / "adapter", base, **config), base))["base"].passed


def test_a_head_of_several_layers(tmp_path):
    """RoBERTa's: PEFT saves ``classifier.dense`` and ``classifier.out_proj`` for ``classifier``."""
    kind = CLASSIFIER["kind"]
    base = cases.write_base(tmp_path / "base", "roberta", kind)
    config = CLASSIFIER | {"target_modules": ["query", "value"]}
    folder = write_adapter(tmp_path / "adapter", base, **config)
    assert "classifier.dense" in check(judged(folder, base, kind))["head"].message
    rewrite(folder, lambda tensors: {k: x for k, x in tensors.items() if "out_proj.w" not in k})
    (lost,) = check_fit(read_files(folder), cases.load_base(base, kind)).values()
    assert "has lost classifier.out_proj.weight, and holds classifier" in lost.message


def test_the_model_is_as_it_was(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, lora_dropout=0.5)
    model = load_adapter(folder, model_folder).train()
    for p in model.parameters():
        p.requires_grad_("lora_B" in str(p.shape))
    grads = [p.requires_grad for p in model.parameters()]
    before = {key: x.clone() for key, x in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    calls = []
    model.base_model.model.register_forward_hook(lambda *_: calls.append(1))
    check(certificate_of(model, folder, model_folder))
    assert len(calls) == 2
    assert torch.rand(1) == expected
    assert all(module.training for module in model.modules())
    assert grads == [p.requires_grad for p in model.parameters()]
    assert cases.forward(model).shape[:2] == cases.IDS.shape
    assert all(torch.equal(before[key], x) for key, x in model.state_dict().items())
    assert not any(m._forward_hooks for n, m in model.named_modules() if n.endswith("q_proj"))


def test_put_in_by_transformers_itself_and_its_json(folder, model_folder):
    model = cases.load_base(model_folder)
    model.load_adapter(folder)
    check(certificate_of(model, folder, model_folder))
    written = judged(folder, model_folder).to_json()
    assert written["passed"] is True
    assert set(written["files"]) == {cases.CONFIG, cases.WEIGHTS}
    assert len({check["name"] for check in written["checks"]}) == 14


NAMES = ("norm.weight", "layers.0.norm.weight", "layers.1.norm.weight")


@pytest.mark.parametrize("saved_in", ["", "model."])
@pytest.mark.parametrize("sought_in", ["", "model."])
def test_the_nearest_name_is_read(saved_in, sought_in, tmp_path):
    weights = {f"{saved_in}{name}": torch.full((2,), float(i)) for i, name in enumerate(NAMES)}
    save_file(weights, tmp_path / "model.safetensors")
    read = reader(open_stored(tmp_path))
    assert [read(f"{sought_in}{name}")[0].item() for name in NAMES] == [0, 1, 2]
    assert read("head.bias") is None


def test_a_weight_is_alike_in_any_precision_but_not_beside_it():
    draw = torch.Generator().manual_seed(0)
    stored = torch.randn(64, generator=draw, dtype=torch.float64)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        copy = stored.to(dtype)
        assert alike(copy, stored) and alike(copy.float(), stored)
        assert not alike(copy.float() * (1 + 1e-6), stored)
