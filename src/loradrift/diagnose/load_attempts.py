"""The ways in which people load an adapter, each tried on a fresh base model."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loradrift.adapters.certificate import certify
from loradrift.adapters.check_result import Certificate, Check
from loradrift.config import UserError
from loradrift.diagnose.adapter_case import AdapterCase
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.loading import quiet
from loradrift.diagnose.snippets import paths_of

NOT_APPLIED = 0.9999
"""Outputs on the same text with a larger cosine than this count as the same."""


@dataclass(frozen=True)
class LoadAttempt:
    """One loading path, and what came of it."""

    name: str
    code: str
    """What to paste for it."""

    cosine: float | None = None
    """Of the outputs with and without the adapter, mean over the texts."""

    change: float | None = None
    """Norm of the outputs' difference, relative to the output without it."""

    error: str | None = None
    """One line, if PEFT refused."""

    certificate: Certificate | None = None
    by_hand: float | None = None
    """Cosine of the high-level call and the forward pass by hand."""

    trainable: float | None = None
    """The adapter's share of all parameters."""

    @property
    def applied(self) -> bool:
        """Whether this is the way to load the adapter.

        A cosine above the threshold counts as not applied, unless every layer was shown to add
        what the files predict: then the adapter is as small as that.
        """
        return bool(self.certificate and self.certificate.passed)

    @property
    def found(self) -> str:
        """One phrase for a table."""
        if self.error:
            return f"refused: {self.error}" if self.certificate is None else self.error
        assert self.cosine is not None and self.change is not None
        how = f"cosine {self.cosine:.6f}, output changes by {self.change:.2g}"
        if self.applied:
            small = ": applied, its effect is this small" if self.cosine > NOT_APPLIED else ""
            return how + small
        return how + (": not applied" if self.cosine > NOT_APPLIED else ": applied wrongly")


def put(host: LoadedBase, path: str, folder: Path) -> None:
    """Load the adapter into ``host`` by a path.

    Raises:
        Exception: Whatever PEFT raises where it cannot.
    """
    from peft import PeftModel

    match path:
        case "load_adapter":
            host.model.load_adapter(str(folder))
        case "on the inner transformer":
            owner, _, name = host.inner.rpartition(".")
            module: Any = host.model.get_submodule(owner)
            setattr(module, name, PeftModel.from_pretrained(getattr(module, name), str(folder)))
        case _:
            host.model = PeftModel.from_pretrained(host.model, str(folder))
    host.model.eval()


def try_paths(case: AdapterCase, host: LoadedBase) -> Iterator[tuple[LoadAttempt, LoadedBase]]:
    """Try each path: what comes of it, and the model with the adapter.

    Args:
        case: The adapter and its base.
        host: The base model, which the first path uses up; the others load it again.
    """
    codes = paths_of(host, str(case.files.folder), case.base)
    for number, (path, code) in enumerate(codes.items()):
        used = case.load() if number else host
        yield try_path(case, used, path, code), used


def try_path(case: AdapterCase, host: LoadedBase, path: str, code: str) -> LoadAttempt:
    """Put the adapter into ``host``, and compare.

    Raises:
        UserError: If the base model's own outputs are not finite.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's about lost keys: they are judged here
        off_BD = host.outputs().double()
        if not off_BD.isfinite().all():
            raise UserError(f"base={case.base}: its outputs are NaN or infinite")
        try:
            with quiet():
                put(host, path, case.files.folder)
            on_BD = host.outputs().double()
        except Exception as error:  # whatever PEFT or the model raises is this path's finding
            return LoadAttempt(path, code, error=_line(error))
        if not on_BD.isfinite().all():
            diverged = Check("effect", False, "the outputs are NaN or infinite with the adapter")
            return LoadAttempt(
                path, code, error=diverged.message, certificate=Certificate((diverged,))
            )
        certificate = certify(
            host.model,
            {"default": 1.0},
            {"default": case.files.folder},
            host.outputs,
            base=case.reference,
            prints=case.prints,
            recorded=case.recorded,
        )
        by_hand = _by_hand(host)
    parameters = {name: p.numel() for name, p in host.model.named_parameters()}
    own = sum(size for name, size in parameters.items() if "lora_" in name)
    return LoadAttempt(
        path,
        code,
        cosine=float(torch.cosine_similarity(on_BD, off_BD, dim=1).mean()),
        change=float((on_BD - off_BD).norm() / off_BD.norm()),
        certificate=certificate,
        by_hand=by_hand,
        trainable=own / sum(parameters.values()),
    )


def _by_hand(host: LoadedBase) -> float | None:
    try:
        called, by_hand = host.called().double(), host.by_hand().double()
    except Exception:  # a model whose inside is called in another way
        return None
    return float(torch.cosine_similarity(called, by_hand, dim=1).min())


def _line(error: Exception) -> str:
    """One line, short for what PEFT says where an adapter is put into a model that it is not of."""
    said = str(error)
    if said.startswith("Target modules") and "not found" in said:
        return "the adapter's target modules are not there"
    if "prepare_inputs_for_generation" in said:
        return "the adapter's task_type wants a causal language model there"
    lines = [line.strip() for line in str(error).strip().split("\n") if line.strip()]
    text = " ".join(lines[:2]) or type(error).__name__
    return text if len(text) < 140 else f"{text[:137]}..."
