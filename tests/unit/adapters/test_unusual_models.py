"""Adapters in quantised models, in models of no library, and put in by other ways of PEFT."""

import adapter_cases as cases
import peft
import pytest
import torch
from torch import nn

from loradrift.adapters import certify


class Int8(nn.Linear):
    """A linear layer whose weight is kept in whole numbers, as quantised ones are."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False)
        self.step = linear.weight.detach().abs().max() / 127
        packed = (linear.weight.detach() / self.step).round().to(torch.int8)
        self.weight = nn.Parameter(packed, requires_grad=False)

    def forward(self, x):
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.step)


@pytest.mark.parametrize("config", [{}, {"use_dora": True}])
def test_a_quantised_base_is_not_judged_and_its_layers_are(config, model_folder, tmp_path):
    folder = cases.write_adapter(tmp_path / "adapter", model_folder, **config)
    model = cases.load_base(model_folder)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and name != "lm_head":
            model.set_submodule(name, Int8(layer))
    model = peft.PeftModel.from_pretrained(model, folder)
    certificate = cases.certificate_of(model, folder, model_folder)
    assert certificate.passed is None
    assert certificate.verdict.startswith("merged_once: not judged: the base weights are quantised")
    assert certificate["effect"].passed is (None if config else True)
    with torch.no_grad():
        cases.lora_layers(model)[0].scaling["default"] *= 2
    assert cases.certificate_of(model, folder, model_folder).passed is False


def test_a_model_of_no_library(tmp_path):
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["0", "2"]))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=draw))
    model.save_pretrained(tmp_path)
    x = torch.randn(3, 8, generator=draw)
    certificate = certify(model, {"default": 1.0}, {"default": tmp_path}, lambda: model(x))
    assert not certificate.failures
    assert certificate["effect"].passed and certificate["placement"].passed


def test_a_mixed_model_and_another_name(folder, model_folder):
    mixed = peft.PeftMixedModel.from_pretrained(cases.load_base(model_folder), folder)
    assert cases.certificate_of(mixed, folder, model_folder).passed
    base = cases.load_base(model_folder)
    named = peft.PeftModel.from_pretrained(base, folder, adapter_name="mine")
    forward = lambda: cases.forward(named)  # noqa: E731
    assert certify(named, {"mine": 1.0}, {"mine": folder}, forward, base=model_folder).passed


def test_a_forward_pass_that_raises_is_not_judged(folder, model_folder):
    model = cases.load_adapter(folder, model_folder)

    def forward():
        raise ValueError("no such input")

    names, folders = {"default": 1.0}, {"default": folder}
    certificate = certify(model, names, folders, forward, base=model_folder)
    assert certificate.verdict == (
        "effect: not judged: the forward pass raises ValueError: no such input"
    )
