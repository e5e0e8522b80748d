"""Whatever an adapter trained is missed by its own check where the files lack it."""

import shutil
from contextlib import suppress

import adapter_cases as cases
import pytest
import torch
from adapter_cases import (
    CONFIG,
    WEIGHTS,
    caught,
    certificate_of,
    edit,
    load_adapter,
    rewrite,
    without,
    write_adapter,
    zeroed,
)
from part_cases import EMBEDDING, KINDS, ROWS, Q, base_with_biases  # noqa: F401

from loradrift.adapters import Certificate


def tensors(change):
    return lambda folder: rewrite(folder, change)


def renamed(name):
    return lambda folder: (folder / WEIGHTS).rename(folder / name)


def damaged(folder):
    cases.truncate(folder)
    renamed("adapter_model.bin")(folder)


def trainers_files_alone(folder):
    """A Trainer's checkpoint that lacks the adapter."""
    cases.pickled(folder, "training_args.bin")
    shutil.copy(folder / "training_args.bin", folder / "optimizer.pt")


def a_row_is_zero(ts):
    return {
        key: x * torch.tensor([[1.0], [0], [1]]) if "delta" in key else x for key, x in ts.items()
    }


KEY = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias"
MISNAMED = "is a safetensors file under another name"
FILES = {
    "embedding's B zero": ("embedding", tensors(zeroed("lora_embedding_B")),
        "lora_B", f"B is zero in 1 of 3 modules, {EMBEDDING}"),
    "embedding's A zero": ("embedding", tensors(zeroed("lora_embedding_A")),
        "lora_A", f"A is zero in 1 of 3 modules, {EMBEDDING}"),
    "embedding's B lost": ("embedding", tensors(without("lora_embedding_B")),
        "keys", f"has no lora_A for {EMBEDDING}"),
    "all biases zero": ("all biases", tensors(zeroed("bias")),
        "parts", "bias and 13 more: all zeros, not trained or not saved"),
    "one bias zero": ("own biases", tensors(zeroed(KEY)),
        "parts", f"{Q}.base_layer.bias: all zeros, not trained or not saved"),
    "all biases lost": ("all biases", tensors(without("bias")),
        "keys", f"{WEIGHTS} has lost 14 of 14 biases, model.layers.0.mlp.down_proj"),
    "one bias lost": ("own biases", tensors(without(KEY)),
        "keys", f"has lost 1 of 6 biases, {Q}.base_layer.bias, which bias=lora_only of"),
    "biases claimed": ("plain", lambda folder: edit(folder, bias="all"),
        "keys", "has lost 14 of 14 biases"),
    "a bias of another shape": (
        "own biases", tensors(lambda ts: ts | {KEY: torch.ones(5)}),
        "weights", f"{Q}.base_layer.bias has shape (32,) in memory, and (5,) in"),
    "a bias that no module has": (
        "plain", tensors(lambda ts: ts | {"base_model.model.lm_head.bias": torch.ones(64)}),
        "keys", f"1 of 7 modules in {WEIGHTS} are not in the model: lm_head.bias"),
    "rows zero": ("rows", tensors(zeroed("delta")), "parts", f"3 of 3 rows of {ROWS}: all zeros"),
    "one row zero": ("rows", tensors(a_row_is_zero), "parts", f"1 of 3 rows of {ROWS}: all zeros"),
    "rows lost": ("rows", tensors(without("delta")),
        "keys", f"has lost the rows of trainable_token_indices in {CONFIG}"),
    "a row lost": (
        "rows", tensors(lambda ts: {k: x[:2] if "delta" in k else x for k, x in ts.items()}),
        "consistent", f"names 3 tokens, and {WEIGHTS} holds 2 rows for {EMBEDDING}"),
    "a token more": ("rows", lambda folder: edit(folder, trainable_token_indices=[1, 2, 3, 4]),
        "consistent", f"names 4 tokens, and {WEIGHTS} holds 3 rows for {EMBEDDING}"),
    "head zero": ("head", tensors(zeroed("lm_head")), "parts", "lm_head.weight: all zeros"),
    "second head lost": ("head", tensors(without("lm_head")),
        "head", f"{WEIGHTS} has lost all of lm_head: modules_to_save of {CONFIG} names it"),
    "magnitudes zero": ("dora", tensors(zeroed("magnitude")),
        "parts", "lora_magnitude_vector and 5 more: all zeros"),
    "bias of B zero": ("bias of B", tensors(zeroed("lora_B.bias")),
        "parts", "lora_B.bias and 5 more: all zeros, not trained or not saved"),
    "alpha_pattern": ("patterns", lambda folder: edit(folder, alpha_pattern={"q_prok": 3}),
        "consistent", f"alpha_pattern of {CONFIG} names q_prok, which matches no module of"),
    "rank_pattern": (
        "patterns", lambda folder: edit(folder, rank_pattern={"v_proj": 2, "x.*": 3}),
        "consistent", f"rank_pattern of {CONFIG} names x.*, which matches no module of"),
    "layers_pattern": ("one layer", lambda folder: edit(folder, layers_pattern=["blocks"]),
        "consistent", f"layers_pattern of {CONFIG} names blocks, which no module of"),
    "layers_to_transform": ("one layer", lambda folder: edit(folder, layers_to_transform=[0]),
        "consistent", f"down_proj has keys in {WEIGHTS} and is in none of layers_to_transform=[0]"),
    "PiSSA denied": ("pissa", lambda folder: edit(folder, init_lora_weights=True),
        "base", "says init_lora_weights=True, and B A is 1.00 alike to what the base weights"),
    "OLoRA denied": ("olora", lambda folder: edit(folder, init_lora_weights="gaussian"),
        "base", "as init_lora_weights=olora starts it: PEFT has to take it out of them"),
    "named .bin": ("plain", renamed("adapter_model.bin"),
        "files", f"holds no {WEIGHTS}; adapter_model.bin {MISNAMED}"),
    "named otherwise": ("plain", renamed("my lora.safetensors"),
        "files", f"holds no {WEIGHTS}; my lora.safetensors {MISNAMED}"),
    "named .bin and damaged": ("plain", damaged,
        "files", "adapter_model.bin is neither a whole safetensors file nor a pickle"),
    "a checkpoint without it": ("plain", trainers_files_alone,
        "files", f"adapter holds no {WEIGHTS}"),
}  # fmt: skip


def judge_harmed(name: str, base, tmp_path, known=True) -> Certificate:
    kind, harm, _, _ = FILES[name]
    folder = write_adapter(tmp_path / "adapter", base, **{"size": 0.3} | KINDS[kind])
    model = load_adapter(folder, base)
    harm(folder)
    with suppress(Exception):  # what PEFT refuses is judged against the adapter as it was
        model = load_adapter(folder, base)
    return certificate_of(model, folder, base if known else None)


@pytest.mark.parametrize("name", FILES)
def test_in_the_files(name, base, tmp_path):
    caught(judge_harmed(name, base, tmp_path), *FILES[name][2:])


def test_without_the_stored_base_biases_are_judged_together(base, tmp_path):
    certificate = judge_harmed("all biases zero", base, tmp_path, known=False)
    caught(certificate, "parts", f"all 14 biases in {WEIGHTS}: all zeros, not trained or not saved")


def test_what_lies_there_instead_is_not_taken_for_the_adapter(base, tmp_path):
    assert judge_harmed("a checkpoint without it", base, tmp_path).verdict.endswith(WEIGHTS)


@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_a_saved_half_of_a_tied_pair_that_the_json_does_not_name(module, tmp_path):
    tied = cases.write_base(tmp_path / "tied", "llama", tie_word_embeddings=True)
    folder = write_adapter(tmp_path / "adapter", tied, size=0.3, modules_to_save=[module])
    assert cases.judged(folder, tied).passed
    edit(folder, modules_to_save=None)
    message = f"{module}.weight, tied to"
    caught(cases.judged(folder, tied), "consistent", message)


def test_a_copy_of_a_tied_embedding_is_none_that_was_trained(tmp_path):
    tied = cases.write_base(tmp_path / "tied", "llama", tie_word_embeddings=True)
    folder = write_adapter(tmp_path / "adapter", tied, size=0.3)
    load_adapter(folder, tied).save_pretrained(folder, save_embedding_layers=True)
    assert any("embed_tokens" in key for key in cases.tensors_of(folder))
    certificate = cases.judged(folder, tied)
    assert certificate.passed, certificate.verdict


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"parameters"}))
def test_none_of_them_is_called_broken(kind, base, tmp_path):
    """As it is, and loaded in half precision, or rounded to it and back."""
    folder = write_adapter(tmp_path / "adapter", base, **{"size": 0.3} | KINDS[kind])
    for options in ({}, {"dtype": torch.bfloat16}):
        certificate = certificate_of(load_adapter(folder, base, **options), folder, base)
        assert certificate.passed, certificate.verdict
    model = load_adapter(folder, base).bfloat16().float()
    found = certificate_of(model, folder, base)
    assert found["weights"].passed and found["head"].passed and found["parts"].passed
