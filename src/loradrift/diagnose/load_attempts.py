"""The ways in which people load an adapter, tried in turn; which applies it or, if none, why."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from loradrift.adapters import Certificate, Check, certify
from loradrift.adapters.check_result import NOTHING_TO_ADD, Findings, ordered
from loradrift.adapters.file_checks import check_fit
from loradrift.adapters.lora_layers import DEFAULT
from loradrift.config import UserError
from loradrift.diagnose.adapter_case import AdapterCase, recorded_files, refusal
from loradrift.diagnose.advice import path_codes
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.loading import quiet

SAME = 0.9999
"""Outputs on the same text with a larger cosine than this count as the same."""


@dataclass(frozen=True)
class LoadAttempt:
    """One loading path, and what came of it."""

    name: str
    code: str
    """What to paste for it."""

    cosine: float | None = None
    """The cosine of the outputs with and without the adapter, as a mean over the texts."""

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
        """Whether this is the way to load the adapter, by its certificate and not by the cosine."""
        return bool(self.certificate and self.certificate.passed)

    @property
    def found(self) -> str:
        """One phrase for a table."""
        if self.error:
            return f"refused: {self.error}" if self.certificate is None else self.error
        assert self.cosine is not None and self.change is not None
        same = self.cosine > SAME
        verdict = ": not applied" if same else ": applied wrongly"
        if self.applied:
            verdict = ": applied, its effect is this small" if same else ""
        return f"cosine {self.cosine:.6f}, output changes by {self.change:.2g}{verdict}"


def _put(loaded: LoadedBase, path: str, folder: Path) -> None:
    """Load the adapter into ``loaded`` by a path."""
    from peft import PeftModel

    match path:
        case "load_adapter":
            loaded.model.load_adapter(str(folder))
        case "on the inner transformer":
            inner = PeftModel.from_pretrained(loaded.transformer, str(folder))
            loaded.model.set_submodule(loaded.inner, inner)
        case _:
            loaded.model = PeftModel.from_pretrained(loaded.model, str(folder))
    loaded.model.eval()


def try_paths(case: AdapterCase, loaded: LoadedBase) -> Iterator[tuple[LoadAttempt, LoadedBase]]:
    """Try each path: what comes of it, and the model with the adapter."""
    codes = path_codes(loaded, str(case.files.folder), case.base)
    for number, (path, code) in enumerate(codes.items()):
        used = case.load() if number else loaded
        yield _try_path(case, used, path, code), used


def _try_path(case: AdapterCase, loaded: LoadedBase, path: str, code: str) -> LoadAttempt:
    """Put the adapter into ``loaded``, and compare."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's about lost keys: they are judged here
        try:
            off_BD = loaded.outputs().double()
        except Exception as error:  # whatever a model raises for which no input can be made up
            given = (
                f"base={case.base}: its forward pass fails on made-up {', '.join(loaded.inputs)}"
            )
            raise UserError(f"{given}: {_line(str(error) or type(error).__name__)}") from None
        if not off_BD.isfinite().all():
            raise UserError(f"base={case.base}: its outputs are NaN or infinite")
        try:
            with quiet():
                _put(loaded, path, case.files.folder)
            on_BD = loaded.outputs().double()
        except Exception as error:  # whatever PEFT or the model raises is this path's finding
            return LoadAttempt(path, code, error=_line(str(error) or type(error).__name__))
        if not on_BD.isfinite().all():
            lost = "the outputs are NaN or infinite with the adapter"
            broken = Certificate((Check("effect", False, lost),))
            return LoadAttempt(path, code, error=lost, certificate=broken)
        certificate = certify(
            loaded.model,
            {DEFAULT: 1.0},
            {DEFAULT: case.files.folder},
            loaded.results,
            base=case.reference,
            prints=case.prints,
            recorded=recorded_files(case.run),
            made_up=loaded.kind != "sentence-transformers",
        )
        try:
            by_hand = _cosines(loaded.called(), loaded.by_hand()).min().item()
        except Exception:  # a model whose inside is called in another way
            by_hand = None
    parameters = {name: p.numel() for name, p in loaded.model.named_parameters()}
    own = sum(size for name, size in parameters.items() if "lora_" in name)
    return LoadAttempt(
        path,
        code,
        cosine=_cosines(on_BD, off_BD).mean().item(),
        change=float((on_BD - off_BD).norm() / off_BD.norm()),
        certificate=certificate,
        by_hand=by_hand,
        trainable=own / sum(parameters.values()),
    )


def _cosines(x_BD: Tensor, y_BD: Tensor) -> Tensor:
    return torch.cosine_similarity(x_BD.double(), y_BD.double(), dim=1)


def _line(said: str) -> str:
    """One line, short for what PEFT says where an adapter is put into a model that it is not of."""
    if said.startswith("Target modules") and "not found" in said:
        return "the adapter's target modules are not there"
    if "prepare_inputs_for_generation" in said:
        return "the adapter's task_type wants a causal language model there"
    text = " ".join([line.strip() for line in said.splitlines() if line.strip()][:2])
    return text if len(text) < 140 else f"{text[:137]}..."


class Applied(NamedTuple):
    """A model with the adapter on it."""

    loaded: LoadedBase
    path: LoadAttempt
    problem: str | None
    """One line if it is loaded whole, and yet its certificate does not hold: the files change
    nothing, or something could not be judged."""


def apply_adapter(case: AdapterCase, loaded: LoadedBase) -> Applied:
    """Load the adapter by the first path of which the certificate holds.

    The first path puts it into ``loaded``, others into a fresh base model. Where all is loaded as
    the files say, but these change nothing (B is zero), the adapter is applied all the same, and
    ``problem`` says so: what comes of it is the finding.

    Raises:
        UserError: If no path applies it; names the check that fails.
    """
    own, tried = case.own | check_fit(case.files, loaded.model), []
    for path, adapted in try_paths(case, loaded):
        tried.append(path)
        if path.certificate is not None and _usable(path.certificate):
            return Applied(adapted, path, None if path.applied else path.certificate.verdict)
    failed = explain(own, tried)
    assert failed is not None
    raise refusal(case, failed)


def best_path(tried: Sequence[LoadAttempt]) -> LoadAttempt | None:
    """The path that works, or the one that comes nearest."""

    def health(path: LoadAttempt) -> tuple[bool, bool, int]:
        failures = path.certificate.failures if path.certificate else []
        return path.applied, path.certificate is not None, -len(failures)

    return max(tried, key=health, default=None)


def explain(own: Findings, tried: Sequence[LoadAttempt]) -> Check | None:
    """The check that says why the adapter is not applied, or not healthy; None if it is both."""
    checks, best = ordered(own), best_path(tried)
    if broken := [check for check in checks if check.passed is False]:
        return broken[0]
    if best is not None and best.applied and best.certificate is not None:
        judged = {check.name for check in best.certificate.checks if check.passed}
        return next((x for x in checks if x.passed is None and x.name not in judged), None)
    if best is not None and best.certificate is not None:
        return best.certificate.first_open
    refused = "; ".join(f"{path.name}: {path.error}" for path in tried)
    if "size mismatch" in refused or "mismatched" in refused:
        return Check("base", False, f"shapes do not fit, an adapter of another base: {refused}")
    return Check("paths", False, f"no loading path works: {refused}")


def _usable(certificate: Certificate) -> bool:
    """Whether the model does what the files say, be it nothing."""
    failed = {check.name for check in certificate.failures}
    if "effect" in failed and certificate["effect"].figures.get("layers") != 0:
        return False
    return failed.issubset(NOTHING_TO_ADD)
