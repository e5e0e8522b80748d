"""One direction: its adapter, vectors, means of inputs, certificate and facts, in one folder."""

import math
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loradrift.adapters import Certificate, Fingerprints, certify, read_adapter
from loradrift.adapters.directions import (
    ADAPTER,
    FACTS,
    INPUT_MEANS,
    SCHEMA,
    VECTORS,
    read_direction_facts,
)
from loradrift.adapters.writing import relative_error, write_low_rank
from loradrift.analysis.persona_direction import PersonaDirectionConfig
from loradrift.analysis.persona_direction.rows import TraitRows, trait_rows
from loradrift.analysis.persona_direction.sides import Sides, digests, read_side, verdict
from loradrift.analysis.persona_direction.spaces import relation_of_spaces
from loradrift.config import ModelConfig, UserError
from loradrift.files import sha256_of, write_atomic, write_json
from loradrift.models import Backbone, load_backbone, load_tokenizer
from loradrift.steering.vectors import Observed, difference_of_means, observe
from loradrift.weights import LowRank, StoredWeights, difference, is_zero, norm, total_norm

MOST_ERROR = 1e-6
"""How far a module of the written adapter may be from the exact difference, relatively."""

SPACES = "spaces.parquet"
NUM_ROWS = 4
"""Rows on which the direction is certified."""


class Base:
    """The base model of some directions, loaded on first use."""

    def __init__(self, folder: Path, fingerprint: str, accelerator: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.accelerator = accelerator

    @cached_property
    def backbone(self) -> Backbone:
        """The model, without an adapter."""
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise UserError("accelerator=gpu needs a GPU, this machine has none; use cpu")
        backbone = load_backbone(self._config, seed=0).eval()
        return backbone.to("cuda" if self.accelerator == "gpu" else "cpu").requires_grad_(False)

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return load_tokenizer(self._config)

    @property
    def _config(self) -> ModelConfig:
        return ModelConfig(name="local", path=str(self.folder))

    def norm(self, modules: Mapping[str, LowRank]) -> float:
        """Frobenius norm of the weights that a direction changes."""
        stored = StoredWeights(self.folder)
        keys = [stored.find(f"{name}.weight") for name in modules]
        return math.hypot(*(norm(stored.read(key)) for key in keys))


def is_written(folder: Path, sides: Sides, settings: PersonaDirectionConfig) -> bool:
    """Whether a folder holds the direction of the same adapters, taken with the same settings."""
    try:
        facts = read_direction_facts(folder)
    except UserError:  # none, an earlier version's, or damaged
        return False
    sides_known = [facts[key].get("sha256") for key in ("positive", "negative")]
    return sides_known == [digests(run) for run in sides] and facts.get("taken") == _taken(settings)


def write_direction(
    folder: Path, study: str, sides: Sides, base: Base, settings: PersonaDirectionConfig
) -> None:
    """Write a direction whole; an earlier one stays if anything is wrong.

    Raises:
        UserError: If the adapters are of different modules, or equal; if what was written is not
            their difference; or if the certificate does not hold.
    """
    exact = difference(*map(read_side, sides))
    if all(map(is_zero, exact.values())):
        names = " and ".join(str(run.folder) for run in sides)
        raise UserError(f"the adapters of {names} are equal: their direction is zero")
    seed, trait = settings.analysis.seed, sides.trait
    rows = trait_rows(
        sides.positive, base.tokenizer, trait=trait, answers=settings.answers,
        max_tokens=settings.max_tokens, seed=seed, cache=Path(settings.cache),
    )  # fmt: skip
    with write_atomic(folder) as temporary:
        temporary.mkdir()
        write_low_rank(temporary / ADAPTER, exact, base=str(base.folder))
        written = {
            name: change
            for name, change in read_adapter(temporary / ADAPTER).items()
            if isinstance(change, LowRank)
        }
        error = relative_error(written, exact)
        if not error < MOST_ERROR:
            raise UserError(
                f"{trait} seed={sides.seed}: the adapter in float32 is off by {error:.2g} of the "
                f"difference in a module, more than {MOST_ERROR:g}: the two sides are too alike"
            )
        plain = _take_vectors(temporary, base, rows, written, seed)
        certificate = _certify(temporary / ADAPTER, base, rows)
        verdict(certificate, folder)
        size = total_norm(written)
        facts = {
            "schema": SCHEMA,
            "trait": trait,
            "study": study,
            "seed": sides.seed,
            "method": str(sides.positive.record.coordinates["method"]),
            "rank": max(change.rank for change in written.values()),
            "norm": size,
            "relative_norm": size / base.norm(written),
            "error": error,
            "base": {"path": str(base.folder), "fingerprint": base.fingerprint},
            **{
                name: {"run": str(run.folder), "sha256": dict(digests(run))}
                for name, run in sides._asdict().items()
            },
            "taken": _taken(settings),
            "vectors": _shape(rows, plain),
            "certificate": certificate.to_json(),
            "sha256": {
                str(path.relative_to(temporary)): sha256_of(path)
                for path in sorted(temporary.rglob("*"))
                if path.is_file() and path.name != "README.md"
            },
        }
        write_json(temporary / FACTS, facts)
        shutil.rmtree(folder, ignore_errors=True)


def _taken(settings: PersonaDirectionConfig) -> dict[str, int]:
    """How the vectors and means are taken."""
    return {
        "answers": settings.answers,
        "max_tokens": settings.max_tokens,
        "seed": settings.analysis.seed,
    }


def _take_vectors(
    place: Path, base: Base, rows: TraitRows, changes: Mapping[str, LowRank], seed: int
) -> Observed:
    """Write the vectors, the means of inputs and the relation of the spaces."""
    special = list(base.tokenizer.all_special_ids)
    sides = [
        observe(base.backbone, each, special=special) for each in (rows.positive, rows.negative)
    ]
    plain = observe(base.backbone, rows.plain, special=special, modules=changes.keys())
    vectors = difference_of_means(*sides)
    _save(place / VECTORS, vectors)
    _save(place / INPUT_MEANS, {name: x.float() for name, x in plain.inputs.items()})
    table = relation_of_spaces(
        base.backbone,
        changes,
        vectors,
        rows=rows.plain,
        special=special,
        generator=torch.Generator().manual_seed(seed),
    )
    table.to_parquet(place / SPACES, index=False)
    return plain


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: x.contiguous() for name, x in tensors.items()}, path)
    path.chmod((path.parent / ADAPTER / "adapter_config.json").stat().st_mode)


def _shape(rows: TraitRows, plain: Observed) -> dict[str, Any]:
    layers, width = plain.states["response_avg"].shape
    counts = {"answers": len(rows.positive), "layers": layers, "width": width}
    return counts | {"dropped": rows.dropped}


def _certify(folder: Path, base: Base, rows: TraitRows) -> Certificate:
    """Load the adapter as any user would, on the base model, and certify it."""
    from peft import PeftModel

    backbone = base.backbone
    shortest = sorted(rows.plain, key=lambda row: len(row.prompt_ids))[:NUM_ROWS]
    length = len(shortest[0].prompt_ids)
    device = next(backbone.parameters()).device
    ids_BT = torch.tensor([row.prompt_ids[:length] for row in shortest], device=device)
    lm = backbone.lm
    try:
        backbone.lm = PeftModel.from_pretrained(lm, folder)
        return certify(
            backbone,
            {"default": 1.0},
            {"default": folder},
            lambda: backbone.encode(ids_BT),
            base=base.folder,
            prints=Fingerprints(recorded=base.fingerprint, loaded=base.fingerprint),
        )
    finally:
        if isinstance(backbone.lm, PeftModel):
            backbone.lm = backbone.lm.unload()
