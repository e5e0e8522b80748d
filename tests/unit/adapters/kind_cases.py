"""Each kind of healthy adapter on disk, as PEFT trains and saves it, and the model that uses it."""

import warnings
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from adapter_cases import diagnosed
from architectures import ARCHITECTURES, Architecture
from healthy_kinds import Kind
from peft.tuners.lora.config import LoraGAConfig

from loradrift.adapters import Certificate, certify

STARTS = ("olora", "pissa", "corda", "lora_ga")
"""Those that take their first product out of the base, and can put it back."""


def outputs(model, architecture: Architecture) -> torch.Tensor:
    """What the model returns first."""
    inputs = architecture.inputs()
    if "SequenceClassification" in type(model.get_base_model()).__name__ and len(inputs) > 1:
        del inputs["decoder_input_ids"]  # it is read at its last token, the text's end
        inputs["input_ids"][:, -1] = model.config.eos_token_id
    output = model(**inputs)
    return next(x for x in output.to_tuple() if torch.is_tensor(x) and x.is_floating_point())


def write_kind(kind: Kind, architecture: Architecture, folder: Path) -> tuple[Path, Any]:
    """A base and an adapter of it in ``folder``; gives the base's folder, and how it is loaded."""
    base = architecture.write(folder / "base", kind.head)
    config: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": architecture.targets}
    config |= kind.config
    labels, convert = config.pop("labels", None), config.pop("convert", True)
    prepare = config.pop("prepare", None)
    options = {"num_labels": labels, "ignore_mismatched_sizes": True} if labels else {}
    loader = getattr(transformers, kind.head or architecture.head)
    torch.manual_seed(0)
    model = loader.from_pretrained(base, **options)
    lora = peft.LoraConfig(**config)
    if prepare == "lora_ga":
        lora.lora_ga_config = LoraGAConfig()
        ids = architecture.inputs()

        def measure() -> None:
            model(**ids, labels=ids["input_ids"]).loss.backward()

        peft.preprocess_loraga(model, lora, measure)
    model = peft.get_peft_model(model, lora)
    if prepare == "eva":
        peft.initialize_lora_eva_weights(model, [architecture.inputs()] * 8)
    start = folder / "start" if convert and lora.init_lora_weights in STARTS else None
    if start is not None:
        model.save_pretrained(start)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn(p.shape))
    model.save_pretrained(
        folder / "adapter", path_initial_model_for_weight_conversion=start and str(start)
    )
    return base, lambda: loader.from_pretrained(base, **options)


def certificate_of_kind(kind: Kind, architecture: Architecture, folder: Path) -> Certificate:
    """The certificate of a kind, as PEFT loads it onto its base."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base, load = write_kind(kind, architecture, folder)
        model = peft.PeftModel.from_pretrained(load(), folder / "adapter").eval()
    names, folders = {"default": 1.0}, {"default": folder / "adapter"}
    return certify(model, names, folders, lambda: outputs(model, architecture), base=base)


def no_false_alarm(name: str, kind: Kind, folder: Path) -> None:
    """It passes, in the library and at the front door; or both say why it cannot be judged."""
    certificate = certificate_of_kind(kind, ARCHITECTURES[name], folder)
    expected = None if kind.unjudged else True
    assert certificate.passed is expected, certificate.verdict
    assert not certificate.failures
    assert certificate.verdict.startswith(kind.unjudged or "the adapter is applied")
    diagnosed(folder / "adapter", None, 2 if kind.unjudged else 0, reason=kind.unjudged)
