"""A merged model gives what PEFT gives, after it was written and read back; else it is refused."""

import adapter_cases as cases
import pytest
import torch
from adapter_cases import load_adapter, write_adapter, write_base
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from loradrift.config import UserError
from loradrift.diagnose import merge, merge_adapter

HEAD = {"modules_to_save": ["lm_head"]}
EMBEDDING = {"target_modules": ["embed_tokens", "q_proj"]}
CASES = {
    "a head": (HEAD, True),
    "an adapted embedding": (EMBEDDING, True),
    "an embedding and what is tied to it": (EMBEDDING | {"ensure_weight_tying": True}, True),
    "DoRA and biases": ({"use_dora": True, "bias": "lora_only"}, False),
    "rows": ({"trainable_token_indices": [1, 40, 41]}, False),
}
"""What is trained, and whether the head and the embedding have different weights from then on."""


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """A base whose head is its embedding."""
    options = {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}
    return write_base(tmp_path_factory.mktemp("merge") / "tied", "llama", **options)


def outputs(model):
    with torch.no_grad():
        return cases.forward(model.eval())


@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_peft_gives(name, tied, tmp_path):
    config, untied = CASES[name]
    folder = write_adapter(tmp_path / "adapter", tied, size=0.2, **config)
    merged = merge_adapter(folder, str(tied), tmp_path / "merged")
    assert bool(merged.untied) == ("no longer tied" in str(merged)) == untied
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    wanted, before = outputs(load_adapter(folder, tied)), outputs(cases.load_base(tied))
    torch.testing.assert_close(outputs(found), wanted, rtol=0, atol=1e-5)
    assert (wanted - before).abs().max() > 1e-2
    assert merged.largest < 1e-5 and merged.gap < 1e-4


def test_a_base_in_half_precision_is_merged_in_float32_and_rounded_once(tmp_path):
    base = write_base(tmp_path / "base", "llama", dtype="bfloat16")
    folder = write_adapter(tmp_path / "adapter", base, size=0.2)
    merged = merge_adapter(folder, str(base), tmp_path / "merged")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    exact = load_adapter(folder, base, dtype=torch.float32).merge_and_unload()
    assert (found.dtype, merged.dtype) == (torch.bfloat16, "bfloat16")
    for key, x in exact.state_dict().items():
        assert torch.equal(x.bfloat16(), found.state_dict()[key])
    shift = (outputs(found.float()) - outputs(exact)).abs().max()
    assert 1e-4 < shift <= merged.largest < 1e-1
    assert f"no output differs by more than {merged.largest:.2g}" in str(merged)


def test_what_does_not_come_back_is_an_error(tied, tmp_path, monkeypatch):
    """As by a transformers that ties the head to the embedding again."""
    folder = write_adapter(tmp_path / "adapter", tied, size=0.2, **HEAD)
    write = merge._write

    def without_the_head(loaded, base, files, out):
        write(loaded, base, files, out)
        tensors = load_file(out / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(merge, "_write", without_the_head)
    with pytest.raises(UserError, match="does not load as it was written: its outputs differ by"):
        merge_adapter(folder, str(tied), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


REFUSED = {
    "a start that was taken out": (
        {"init_lora_weights": "pissa", "convert": False, "size": 1e-3}, lambda f: None,
        "init_lora_weights=pissa took a part out of the base weight"),
    "a start that the JSON denies": (
        {"init_lora_weights": "pissa", "convert": False, "size": 1e-3},
        lambda f: cases.edit(f, init_lora_weights=True), "as init_lora_weights=pissa starts it"),
    "parameters": (
        {"target_parameters": ["q_proj.weight"], "target_modules": ["v_proj"]}, lambda f: None,
        r"target_parameters is set, and more than scale \* B A would have to be merged"),
    "a key of no place": (
        {}, lambda f: cases.rewrite(f, lambda ts: ts | {"foo.weight": torch.ones(2)}),
        "foo.weight has 0 places in LlamaForCausalLM"),
    "rows of no known tokens": (
        {"trainable_token_indices": [1, 40]},
        lambda f: cases.edit(f, trainable_token_indices=[1]), "consistent: .* names 1 tokens, and"),
    "rows of tokens that are not there": (
        {"trainable_token_indices": [1, 40]},
        lambda f: cases.edit(f, trainable_token_indices=[1, 4000]),
        "names token 4000, and model.embed_tokens has 64: an adapter of another base"),
    "rows of negative tokens": (
        {"trainable_token_indices": [1, 40]},
        lambda f: cases.edit(f, trainable_token_indices=[1, -2]),
        r"trainable_token_indices must be token numbers from 0, .*, got \[1, -2\]"),
    "a pattern of no module": (
        {}, lambda f: cases.edit(f, alpha_pattern={"q_prok": 99}),
        "consistent: alpha_pattern of adapter_config.json names q_prok, which matches no module"),
    "an excluded module": (
        {}, lambda f: cases.edit(f, exclude_modules=["layers.1.self_attn.q_proj"]),
        "is one of exclude_modules in adapter_config.json"),
    "a lost head": (
        HEAD, lambda f: cases.rewrite(f, cases.without("lm_head")), "head: .* lost all of lm_head"),
    "a head that was never saved": (
        {}, lambda f: cases.edit(f, **HEAD), "head: .* has lost all of lm_head"),
    "a lost head of a classifier": (
        cases.CLASSIFIER, lambda f: cases.rewrite(f, cases.without("score")),
        "head: .* has lost all of score"),
    "a task whose head was never saved": (
        {}, lambda f: cases.edit(f, task_type="SEQ_CLS"), "head: .* has lost all of score"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_merged_is_refused(name, tied, tmp_path):
    config, harm, message = REFUSED[name]
    folder = write_adapter(tmp_path / "adapter", tied, **config)
    harm(folder)
    with pytest.raises(UserError, match=message):
        merge_adapter(folder, str(tied), tmp_path / "merged")
    assert "merge_adapter" not in cases.diagnose(str(folder), None).advice.change
