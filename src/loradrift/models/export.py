"""What was learned, as safetensors: a PEFT adapter or full weights, the head, the tokenizer."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.files import sha256_of
from loradrift.models.backbone import Backbone
from loradrift.models.soft_prompt.adapting import is_adapted
from loradrift.models.written import check_written
from loradrift.runs.model_files import ADAPTER_CONFIG, HEAD

CONFIGURATIONS = ("config.json", ADAPTER_CONFIG)
"""Of a model and of an adapter: they say what the weights mean."""


def export_model(
    folder: Path,
    backbone: Backbone,
    head: nn.Module | None,
    tokenizer: Any,
    initial_adapter: Mapping[str, Tensor] | None = None,
) -> dict[str, str]:
    """Write ``folder`` whole, replacing an earlier one; the head is its ``head.safetensors``.

    LoRA on a soft prompt's encoder is PEFT's folder ``encoder`` below. Where an adapter's first
    weights are not zero (PiSSA), they must be given: the export is then the equivalent LoRA of the
    unchanged base model, of twice the rank.

    Returns:
        sha256 of each file of weights and of each configuration, by its name below ``folder``.

    Raises:
        UserError: If what was written does not load back as what was to be written. An earlier
            ``folder`` then stays as it is.
    """
    from safetensors.torch import save_file

    place, prefix = folder.parent, f".{folder.name}."
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix, suffix=".tmp", dir=place) as name:
        temporary = Path(name, "whole")
        if initial_adapter is None:
            backbone.lm.save_pretrained(temporary)
        else:
            _save_as_plain_lora(backbone.lm, temporary, Path(name, "initial"), initial_adapter)
        if head is not None:
            weights = {key: value.contiguous() for key, value in head.state_dict().items()}
            save_file(weights, temporary / HEAD)
        if is_adapted(head):
            head.encoder.save_pretrained(temporary)  # type: ignore[union-attr,operator]
        tokenizer.save_pretrained(temporary)
        sort_targets(temporary)
        check_written(temporary, backbone, head, tokenizer, initial_adapter)
        mode = (temporary / "tokenizer_config.json").stat().st_mode
        for path in temporary.rglob("*.safetensors"):
            path.chmod(mode)  # safetensors' 0600 would hide them from the user's group
        written = {path.relative_to(temporary).as_posix(): path for path in temporary.rglob("*")}
        digests = {
            name: sha256_of(path)
            for name, path in sorted(written.items())
            if path.suffix == ".safetensors" or path.name in CONFIGURATIONS
        }
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    return digests


def _save_as_plain_lora(
    lm: Any, folder: Path, scratch: Path, initial: Mapping[str, Tensor]
) -> None:
    trained = {key: value.clone() for key, value in adapter_weights(lm).items()}
    with warnings.catch_warnings():
        # PEFT warns that PiSSA changes the base weights: that is what is undone here.
        warnings.simplefilter("ignore", UserWarning)
        _set_weights(lm, initial)
        lm.save_pretrained(scratch)
        _set_weights(lm, trained)
        lm.save_pretrained(folder, path_initial_model_for_weight_conversion=str(scratch))


def sort_targets(folder: Path) -> None:
    """Write an adapter's modules in the order of their names.

    PEFT writes a set, in an order that changes from process to process: a run that is repeated
    would leave another file, and what started from it would take it for another start.
    """
    for path in folder.rglob(ADAPTER_CONFIG):
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config["target_modules"], list):
            config["target_modules"].sort()
            path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def adapter_weights(lm: nn.Module) -> dict[str, Tensor]:
    """The adapter's own parameters, by name."""
    return {name: p.detach() for name, p in lm.named_parameters() if "lora_" in name}


@torch.no_grad()
def _set_weights(lm: nn.Module, weights: Mapping[str, Tensor]) -> None:
    parameters = dict(lm.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)
