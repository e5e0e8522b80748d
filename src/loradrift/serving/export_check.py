"""Whether each part of an export gives the logits of the run, or the adapter, that is exported."""

# Shape suffixes: B rows, T tokens, V vocabulary, C classes.

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loradrift.adapters import read_files
from loradrift.config import ModelConfig, UserError
from loradrift.diagnose import AdapterCase, apply_adapter
from loradrift.diagnose.adapter_case import refusal
from loradrift.diagnose.loading import quiet
from loradrift.diagnose.made_up_inputs import made_up_inputs
from loradrift.models import Backbone, Classifier, load_backbone
from loradrift.serving.export_servable import Servable

TOLERANCE = 2e-5
"""Largest difference of logits, relative to the largest logit: the order of sums in fp32."""

MERGED_TOLERANCE = 1e-4
"""The same of a merged model, whose weights are rounded too."""

KINDS = ("run", "causal LM", "classifier")
"""What an exported adapter may be for."""


class Reference(NamedTuple):
    """What the source itself says of a few texts."""

    ids_BT: Tensor
    logits_BTV: Tensor
    classes_BC: Tensor | None
    """Logits of the run's own head; None without a classifier's."""

    certificate: str | None
    """What the certificate says of the adapter's effect; None without an adapter."""


def refer_to_adapter(case: AdapterCase) -> Reference:
    """Apply the adapter as diagnosed, and take its logits.

    Raises:
        UserError: If its certificate does not hold, or it is for no causal language model.
    """
    loaded = case.load()
    if loaded.kind not in KINDS:
        raise UserError(
            f"run={case.files.folder} must be an adapter of a causal language model, and is one of "
            f"a {loaded.kind} ({loaded.loader})"
        )
    applied = apply_adapter(case, loaded)
    certificate = applied.path.certificate
    assert certificate is not None
    if applied.problem is not None:
        failed = certificate.first_open
        raise refusal(case, failed) if failed else UserError(applied.problem)
    model = applied.loaded
    ids_BT, said = model.inputs["input_ids"], certificate["effect"].message
    with torch.no_grad():
        if model.kind == "classifier":
            return Reference(ids_BT, Tensor(), model.results().double(), said)
        classes_BC = model.called().double() if model.head is not None else None
        logits_BTV = next_token_logits(model.model, ids_BT)
    return Reference(ids_BT, logits_BTV, classes_BC, said)


def refer_to_weights(model: Path, head: Mapping[str, Tensor] | None) -> Reference:
    """The logits of a run's whole weights, and of its head."""
    backbone = load_whole(model)
    ids_BT = made_up_inputs(str(model), backbone.lm)["input_ids"]
    classes_BC = None
    with torch.no_grad():
        if head is not None:
            classifier = Classifier(backbone, len(head["weight"]), seed=0)
            classifier.head.load_state_dict(head)
            classes_BC = classifier.eval()(ids_BT, torch.ones_like(ids_BT)).double()
        return Reference(ids_BT, next_token_logits(backbone.lm, ids_BT), classes_BC, None)


def next_token_logits(lm: nn.Module, ids_BT: Tensor) -> Tensor:
    """Scores (B, T, V) of the token after each position, in float64; rows are not padded."""
    with torch.no_grad():
        logits_BTV: Tensor = lm(input_ids=ids_BT, use_cache=False).logits
    return logits_BTV.double()


def load_whole(folder: Path) -> Backbone:
    """A whole model in fp32, with the fast attention where it has one."""
    model = ModelConfig(name="local", path=str(folder))
    try:
        return load_backbone(model, seed=0).eval()
    except UserError as error:
        if "model.attention must be eager" not in str(error):
            raise
    return load_backbone(replace(model, attention="eager"), seed=0).eval()


def load_beside(base: Path, adapter: Path) -> nn.Module:
    """The base with the adapter, as PEFT loads it."""
    return _with_adapter(load_whole(base).lm, adapter)


def load_classifier(base: Path, classifier: Path, head: Mapping[str, Tensor]) -> nn.Module:
    """The base as transformers' classifier, with PEFT's adapter and its ``score``, in fp32.

    transformers' own ``score`` has no bias, and PEFT would drop the adapter's.

    Raises:
        UserError: If transformers has no classifier of this architecture with a ``score``.
    """
    from transformers import AutoModelForSequenceClassification

    labels, width = head["weight"].shape
    try:
        with quiet():
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                base,
                num_labels=labels,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
            )
    except ValueError as error:
        raise UserError(str(error).strip().split("\n")[0][:200]) from None
    if not hasattr(model, "score"):
        raise UserError(f"{type(model).__name__} has no head named score")
    model.score = nn.Linear(width, labels, bias="bias" in head)
    model.config.pad_token_id = -1  # no row is padded
    return _with_adapter(model, classifier)


def open_classifier_in_peft(servable: Servable) -> nn.Module:
    """An export's classifier, as :func:`load_classifier` loads it."""
    base, folder = servable.classifier_base, servable.classifier
    assert base is not None and folder is not None
    saved = read_files(folder).saved
    head = {key.removeprefix("score."): x.float() for key, x in saved.items()}
    return load_classifier(base, folder, head)


def class_logits(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """Logits (B, C) of rows that are not padded, in float64."""
    with torch.no_grad():
        logits_BC: Tensor = model(input_ids=ids_BT).logits
    return logits_BC.double()


def check_same(part: str, got: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> float:
    """The largest difference of logits; UserError unless it is rounding."""
    difference = float((got - wanted).abs().max())
    largest = max(1.0, float(wanted.abs().max()))
    if not difference <= tolerance * largest:
        raise UserError(
            f"the exported {part} is not the run's: its logits differ by {difference:.2g}, more "
            f"than the {tolerance * largest:.2g} that rounding may make"
        )
    return difference


@quiet()
def _with_adapter(model: Any, adapter: Path) -> nn.Module:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys, which the logits judge
        adapted: nn.Module = PeftModel.from_pretrained(model, str(adapter))
    return adapted.eval()
