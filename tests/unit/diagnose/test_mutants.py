"""Each way in which an adapter is known to go wrong is caught by its own check."""

import shutil

import pytest
import torch
from adapter_cases import (
    caught,
    certificate_of,
    edit,
    load_adapter,
    load_base,
    rewrite,
    tensors_of,
    write_adapter,
)
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification

from loradrift.adapters import Fingerprints, certify

Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_"


def zero_b(tensors):
    return {key: 0 * x if "lora_B" in key else x for key, x in tensors.items()}


def zero_a(tensors):
    return {key: 0 * x if key == f"{Q0}A.weight" else x for key, x in tensors.items()}


def swapped(tensors):
    other = {"A": "B", "B": "A"}
    return {k.replace(f"_{c}.", f"_{other[c]}."): x for k, x in tensors.items() for c in k[-8]}


def transposed(tensors):
    return {key: x.T for key, x in tensors.items()}


def renamed(tensors):
    return {key.replace(f"{Q0}A", f"{Q0}A".replace("q_", "qq_")): x for key, x in tensors.items()}


def without_b(tensors):
    return {key: x for key, x in tensors.items() if key != f"{Q0}B.weight"}


def prefixed(tensors):
    return {f"base_model.model.{key}": x for key, x in tensors.items()}


FILES = {
    "zero B": (zero_b, "lora_B", "B is zero in 6 of 6 modules"),
    "zero A": (zero_a, "lora_A", "A is zero in 1 of 6 modules, model.layers.0.self_attn.q_proj"),
    "swapped": (swapped, "consistent", "A and B are swapped or transposed"),
    "transposed": (transposed, "consistent", "A and B are swapped or transposed"),
    "a key renamed": (renamed, "keys", "1 of 7 modules in adapter_model.safetensors are not in"),
    "a key lost": (without_b, "keys", "has no lora_B for model.layers.0.self_attn.q_proj"),
    "a prefix": (prefixed, "keys", "without 'base_model.model.' in front all fit"),
}


@pytest.mark.parametrize(("change", "name", "message"), FILES.values(), ids=FILES)
def test_tensors(change, name, message, folder, model_folder):
    healthy = load_adapter(folder, model_folder)
    rewrite(folder, change)
    try:
        model = load_adapter(folder, model_folder)
    except RuntimeError:  # PEFT refuses it too
        model = healthy
    certificate = certificate_of(model, folder, model_folder)
    if name == "keys":  # the mutant also contradicts its own target_modules
        assert message in certificate["keys"].message
        assert certificate["keys"].passed is False
        return
    caught(certificate, name, message)


CONFIGS = {
    "rank": ({"r": 8}, "consistent", "in adapter_model.safetensors do not fit the rank 8 of"),
    "no rank": ({"r": 0}, "files", "r must be a positive integer, got 0"),
    "targets": ({"target_modules": ["q_proj"]}, "consistent", "is none of target_modules"),
    "more targets": (
        {"target_modules": ["q_proj", "v_proj", "down_proj", "o_proj"]},
        "consistent",
        "target_modules names o_proj, which has no keys",
    ),
    "dora": ({"use_dora": True}, "consistent", "lacks model.layers.0.mlp.down_proj.lora_magnitude"),
    "another type": ({"peft_type": "IA3"}, "files", "peft_type must be LORA, got IA3"),
    "scale": ({"lora_alpha": 16}, "scale", "multiplies with 2, and alpha/r of adapter_config.json"),
    "rslora": ({"use_rslora": True}, "scale", "and alpha/sqrt(r) of adapter_config.json is 4"),
    "pattern": ({"alpha_pattern": {"v_proj": 1}}, "scale", "is 0.25"),
}


@pytest.mark.parametrize(("changes", "name", "message"), CONFIGS.values(), ids=CONFIGS)
def test_configuration(changes, name, message, folder, model_folder):
    model = load_adapter(folder, model_folder)
    edit(folder, **changes)
    caught(certificate_of(model, folder, model_folder), name, message)


class Outer(nn.Module):
    """What sentence-transformers puts around a transformer."""

    def __init__(self, inner):
        super().__init__()
        self.auto_model = inner

    def forward(self, **inputs):
        return self.auto_model(**inputs)


def test_wrapped_around_the_outer_object(model_folder, tmp_path):
    from peft import PeftModel

    folder = write_adapter(tmp_path / "adapter", model_folder, kind=AutoModel)
    model = PeftModel.from_pretrained(Outer(load_base(model_folder, AutoModel)), folder)
    message = "PEFT wraps Outer, which is no transformer; put it on the transformer inside, auto"
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, "placement", message)
    assert certificate["keys"].passed is False
    assert "the adapter belongs to the transformer inside" in certificate["keys"].message


def test_another_base_of_another_shape(folder, model_folder, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=300, num_attention_heads=1, num_key_value_heads=1, **size)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    small = write_adapter(tmp_path / "small", tmp_path / "base")
    model = load_adapter(small, tmp_path / "base")
    certificate = certificate_of(model, folder, tmp_path / "base")
    caught(certificate, "base", "and the base model has (16, 16) there: an adapter of another base")


def test_another_base_of_the_same_shape(folder, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "base")
    rewritten = load_base(model_folder)
    with torch.no_grad():
        for p in rewritten.parameters():
            p.add_(0.01 * torch.randn(p.shape))
    rewritten.save_pretrained(tmp_path / "base")
    model = load_adapter(folder, tmp_path / "base")
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, "base", "is not the stored base's: they differ by")
    prints = Fingerprints(recorded="a" * 64, loaded="b" * 64)
    certificate = certificate_of(model, folder, tmp_path / "base", prints=prints)
    caught(certificate, "base", "was trained on a base model with digest aaaaaaaaaaaa, and this")


@pytest.mark.parametrize("size", [0.05, 0.5])
def test_merged_and_applied_again(size, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=size)
    merged = load_adapter(folder, model_folder).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    model = load_adapter(folder, tmp_path / "merged")
    message = "already holds 1.000 times the adapter's change: it was merged and is applied again"
    caught(certificate_of(model, folder, model_folder), "merged_once", message)
    if size > 0.1:  # without the unmerged base at hand, a change this large still shows
        caught(
            certificate_of(model, folder, None),
            "merged_once",
            "every base weight already holds its",
        )


def test_a_head_that_is_lost(model_folder, tmp_path):
    kind = AutoModelForSequenceClassification
    folder = write_adapter(tmp_path / "adapter", model_folder, task_type="SEQ_CLS", kind=kind)
    model = load_adapter(folder, model_folder, kind, pad_token_id=3)
    saved = tensors_of(folder)
    rewrite(folder, lambda tensors: {k: x for k, x in tensors.items() if "score" not in k})
    message = "the head is lost: adapter_model.safetensors holds none of modules_to_save="
    caught(certificate_of(model, folder, model_folder), "head", message)
    rewrite(folder, lambda _: {k: 2 * x if "score" in k else x for k, x in saved.items()})
    message = "score.weight in memory is not the file's: off by"
    caught(certificate_of(model, folder, model_folder), "head", message)


def test_the_head_of_a_run_that_is_lost(folder, model_folder):
    model = load_adapter(folder, model_folder)
    head = nn.Linear(32, 2).state_dict()
    certificate = certificate_of(model, folder, model_folder, head=head)
    caught(certificate, "head", "has lost head.safetensors: the task's head would be random")


def test_no_adapter_in_the_model(folder, model_folder):
    certificate = certificate_of(load_base(model_folder), folder, model_folder)
    caught(certificate, "placement", "LlamaForCausalLM holds no LoRA layer")


def test_the_forward_pass_goes_around_it(folder, model_folder):
    model, plain = load_adapter(folder, model_folder), load_base(model_folder)
    call = plain.get_input_embeddings()
    names, folders = {"default": 1.0}, {"default": folder}
    ids = torch.tensor([[1, 2]])
    certificate = certify(model, names, folders, lambda: call(ids), base=model_folder)
    caught(
        certificate,
        "effect",
        "does not go through model.layers.0.mlp.down_proj and 5 more",
    )


def test_a_start_that_is_drawn_anew_each_time(model_folder, tmp_path):
    start = {"init_lora_weights": "pissa_niter_4", "convert": False}
    folder = write_adapter(tmp_path / "adapter", model_folder, **start)
    certificate = certificate_of(load_adapter(folder, model_folder), folder, model_folder)
    caught(certificate, "base", "init_lora_weights=pissa_niter_4 draws at random what it takes out")


def test_a_start_that_is_claimed_in_the_json_alone(folder, model_folder):
    edit(folder, init_lora_weights="pissa")
    certificate = certificate_of(load_adapter(folder, model_folder), folder, model_folder)
    caught(certificate, "base", "is not the stored base's")


@pytest.mark.parametrize("key", ["foo", "lm_head.foo.weight"])
def test_a_key_that_belongs_to_no_module(key, folder, model_folder):
    rewrite(folder, lambda tensors: tensors | {key: torch.ones(3)})
    certificate = certificate_of(load_adapter(folder, model_folder), folder, model_folder)
    caught(certificate, "keys", "1 of 7 modules in adapter_model.safetensors are not in the model")
