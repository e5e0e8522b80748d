"""One export, from what is to be exported to the checked folders."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor, nn

from loradrift.adapters.lora_layers import is_linear, is_transposed
from loradrift.config import UserError
from loradrift.config.studies import APART
from loradrift.diagnose import AdapterCase, find_case
from loradrift.files import read_json
from loradrift.models import Backbone
from loradrift.serving.export_check import (
    MERGED_TOLERANCE,
    Reference,
    check_same,
    class_logits,
    load_beside,
    load_classifier,
    load_whole,
    next_token_logits,
    refer_to_adapter,
    refer_to_weights,
)
from loradrift.serving.export_limits import largest_rank, why_not_beside
from loradrift.serving.export_parts import (
    write_adapter,
    write_classifier,
    write_idle,
    write_merged,
    write_whole,
)
from loradrift.serving.export_servable import RECORD, Servable, digests, write_servable
from loradrift.serving.export_source import Source

IDLE = (
    "The head is in an adapter of rank 1 that changes nothing, for the {model} model: vLLM's own "
    "classifiers have no bias."
)
OTHER_HEAD = (
    "The head is not exported: vLLM's classifiers give one answer a text, which neither a span's "
    "head nor a soft prompt's does. What is exported is the language model."
)
LOOSE_HEAD = (
    "The head (head.safetensors) is not exported: this folder lies outside of its run, whose "
    "record (run.json) says which task the head is for. Give the run's own folder to export its "
    "classifier too."
)
NO_CERTIFICATE = (
    "The run recorded no certificate: the adapter was certified now, with the base that is here."
)
WHOLE = "The run has trained whole weights: there is no adapter to serve beside others."
HEAD_ONLY = "The run has trained its head alone: the merged model is the base model."


@dataclass
class Parts:
    """The folders of an export while they are written."""

    new: Path
    """Where they are written."""

    out: Path
    """Where they will be."""

    base: Path
    adapter: bool = False
    classifier_base: Path | None = None
    notices: list[str] = field(default_factory=list)
    checks: dict[str, float] = field(default_factory=dict)


def write_export(
    source: Source, new: Path, out: Path, *, drawn: tuple[str, str] | None = None
) -> None:
    """Write all parts of an export to the folder ``new``, which will be renamed to ``out``.

    ``drawn`` is the name of an adapter with random factors, and the digest of what it depends on.

    Raises:
        UserError: If a part does not give the source's logits, or the adapter's certificate does
            not hold.
    """
    new.mkdir()
    parts = Parts(new, out, source.base or out / "merged")
    certificate = None
    with _disk_full(out):
        if source.case is None:
            _write_weights(source, parts)
        else:
            certificate = _write_adapter(source, source.case, parts)
    if source.odd_head:
        parts.notices.append(OTHER_HEAD)
    classifier = None if parts.classifier_base is None else out / "classifier"
    name, label, digest = source.name, source.label, source.digest
    if drawn is not None:
        (name, digest), label = drawn, f"{drawn[0]} (random factors)"
    servable = Servable(
        name=name,
        label=label,
        task=None if source.run is None else source.name,
        source=out / "adapter" if drawn else source.folder,
        base=parts.base,
        base_fingerprint=source.base_fingerprint,
        adapter=out / "adapter" if parts.adapter else None,
        merged=out / "merged",
        classifier=classifier,
        classifier_base=parts.classifier_base,
        num_labels=None if classifier is None or not source.head else len(source.head["weight"]),
        rank=0 if source.case is None else largest_rank(source.case.files),
        sha256=source.sha256,
        drawn=drawn is not None,
        notices=tuple(parts.notices),
        checks=parts.checks,
        certificate=certificate,
        digest=digest,
        files=digests(new),
    )
    write_servable(new, servable)
    mode = (new / RECORD).stat().st_mode
    for path in new.rglob("*.safetensors"):
        path.chmod(mode)  # safetensors' 0600 would hide them from the server's user


@contextmanager
def _disk_full(out: Path) -> Iterator[None]:
    """Make one line of what the libraries raise where a disk is full."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if "No space left" not in str(error):
            raise
        raise UserError(f"out={out} cannot be written: no space is left on its disk") from None


def _write_adapter(source: Source, case: AdapterCase, parts: Parts) -> str | None:
    """Write what an adapter becomes; gives what its certificate says."""
    parts.notices += _notices(source, case)
    reference = refer_to_adapter(case)
    adapter = parts.new / "adapter"
    write_adapter(case.files, parts.base, adapter)
    if case.files.config.get("task_type") == "SEQ_CLS":  # its own output is not the next token
        language = refer_to_adapter(find_case(str(adapter), str(parts.base)))
        reference = reference._replace(logits_BTV=language.logits_BTV)
    untied = write_merged(adapter, parts.base, parts.new / "merged")
    parts.notices += [f"The merged model has its own {name}, no longer tied." for name in untied]
    lm = _check_merged(parts, reference)
    if why := why_not_beside(case.files, parts.base):
        parts.notices.append(f"The adapter is exported merged alone: {why}.")
        shutil.rmtree(adapter)
    else:
        parts.adapter = True
        beside = next_token_logits(load_beside(parts.base, adapter), reference.ids_BT)
        parts.checks["adapter"] = check_same("adapter", beside, reference.logits_BTV)
    if source.head is not None:
        if parts.adapter:
            _write_classifier(parts, reference, adapter, source.head, parts.base)
        else:
            _write_idle(parts, reference, lm, source.head, parts.out / "merged")
    return reference.certificate


def _write_weights(source: Source, parts: Parts) -> None:
    """Write what whole weights become."""
    reference = refer_to_weights(source.model, source.head)
    write_whole(source.model, parts.new / "merged")
    lm = _check_merged(parts, reference)
    parts.notices.append(HEAD_ONLY if source.is_frozen else WHOLE)
    if source.head is not None:
        _write_idle(parts, reference, lm, source.head, parts.base)


def _check_merged(parts: Parts, reference: Reference) -> nn.Module:
    lm: nn.Module = load_whole(parts.new / "merged").lm
    got_BTV = next_token_logits(lm, reference.ids_BT)
    wanted_BTV, bound = reference.logits_BTV, MERGED_TOLERANCE
    parts.checks["merged"] = check_same("merged model", got_BTV, wanted_BTV, bound)
    return lm


def _write_idle(
    parts: Parts, reference: Reference, lm: nn.Module, head: Mapping[str, Tensor], base: Path
) -> None:
    """Write a classifier whose adapter changes nothing, for a model that needs no other change."""
    inside = {*Backbone(lm).blocks.modules()}
    layers = ((name, x) for name, x in lm.named_modules() if x in inside and is_linear(x))
    layer, module = next(layers)
    shape = tuple(module.weight.shape)
    idle = parts.new / "idle"
    write_idle(layer, shape[::-1] if is_transposed(module) else shape, idle)
    _write_classifier(parts, reference, idle, head, base)
    shutil.rmtree(idle)
    if parts.classifier_base is not None:
        parts.notices.append(
            IDLE.format(model="merged" if base == parts.out / "merged" else "base")
        )


def _write_classifier(
    parts: Parts, reference: Reference, adapter: Path, head: Mapping[str, Tensor], base: Path
) -> None:
    folder = parts.new / "classifier"
    write_classifier(adapter, head, base, folder)
    there = parts.new / "merged" if base == parts.out / "merged" else base
    try:
        model = load_classifier(there, folder, head)
    except UserError as error:
        parts.notices.append(f"The head is not exported: {error}.")
        shutil.rmtree(folder)
        return
    assert reference.classes_BC is not None
    got_BC = class_logits(model, reference.ids_BT)
    parts.checks["classifier"] = check_same("classifier", got_BC, reference.classes_BC)
    parts.classifier_base = base


def _notices(source: Source, case: AdapterCase) -> list[str]:
    """What there is to say of an adapter before it is written."""
    said = []
    if source.run is not None and source.run.phase in APART:
        said.append(f"The run is of a study's phase {source.run.phase}, and none of its results.")
    if source.run is None and case.files.head is not None:
        said.append(LOOSE_HEAD)
    if source.run is not None and source.run.certificate is None:
        said.append(NO_CERTIFICATE)
    method = {} if source.run is None else source.run.config.get("method", {})
    if method.get("init") == "pissa":
        said.append(f"PiSSA is plain LoRA of twice its rank: {case.files.config['r']}.")
    assert source.base is not None
    config = read_json(source.base / "config.json")
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    if stored != "float32":
        said.append(
            f"The base is stored in {stored}: the merged model is float32, and an engine that runs "
            "in a lower precision rounds it, once."
        )
    return said
