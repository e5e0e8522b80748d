"""A sentence-transformers model: the adapter belongs on the transformer inside."""

import adapter_cases as cases
import peft
import pytest
import torch
from adapter_cases import PLAIN, diagnosed, pasted, rewrite, sentence_model, write_adapter
from torch import nn
from transformers import AutoModel

from loradrift.adapters.lora_layers import find_lora_layers
from loradrift.diagnose.loading import inner_name


@pytest.fixture(scope="module")
def base(model_folder, tmp_path_factory):
    return cases.write_sentence_base(tmp_path_factory.mktemp("sentences"), model_folder)


def test_the_inner_transformer_is_the_place(base, tmp_path):
    folder = write_adapter(tmp_path / "adapter", base, kind=AutoModel, size=0.3)
    change = "model[0].model = PeftModel.from_pretrained(model[0].model"
    found = diagnosed(folder, base, change=change)
    assert found.kind == "sentence-transformers"
    applied = {path.name: path.applied for path in found.paths}
    expected = {"on the wrapper": False, "on the inner transformer": True, "load_adapter": True}
    assert applied == expected
    wrapper, inner, _ = found.paths
    assert wrapper.cosine > 0.9999 > inner.cosine
    assert "PEFT wraps SentenceTransformer" in wrapper.certificate["placement"].message
    assert inner.by_hand > 0.9999
    for path in found.paths:
        assert find_lora_layers(pasted(path.code)["model"]) is not None
    plain = sentence_model(base).encode("the film was great")
    adapted = pasted(found.advice.change)["model"].encode("the film was great")
    assert abs(plain - adapted).max() > 1e-3


def test_saved_from_the_wrapper_it_is_merged(base, tmp_path):
    model = peft.get_peft_model(sentence_model(base), peft.LoraConfig(**PLAIN))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.add_(0.3 * torch.randn(p.shape))
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    rewrite(folder, lambda ts: {k.replace(".0.model.", ".0.auto_model."): x for k, x in ts.items()})
    reason = "Merged into the base, its outputs are the adapter's to"
    found = diagnosed(folder, base, 1, reason=reason, change="merge_adapter(")
    assert not any(path.applied for path in found.paths)


@pytest.mark.parametrize("attribute", ["auto_model", "model"])
def test_both_names_of_the_inner_transformer(attribute):
    first = nn.Module()
    first.add_module(attribute, nn.Linear(1, 1))
    assert inner_name(nn.Sequential(first)) == f"0.{attribute}"
