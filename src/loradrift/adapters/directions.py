"""A persona's direction on disk: an ordinary adapter, and the facts that explain it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loradrift.adapters.adapter_changes import read_adapter
from loradrift.config import UserError
from loradrift.files import sha256_of
from loradrift.weights import LowRank
from loradrift.weights.stored import read_json

SCHEMA = 1
FACTS = "direction.json"
ADAPTER = "adapter"
VECTORS = "vectors.safetensors"
INPUT_MEANS = "input_means.safetensors"

MAKES = "`python analyze.py analysis=persona_direction` writes directions"

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "trait": str,
    "study": str,
    "seed": int,
    "rank": int,
    "norm": float,
    "relative_norm": float,
    "error": float,
    "base": dict,
    "positive": dict,
    "negative": dict,
    "certificate": dict,
    "sha256": dict,
}
"""What ``direction.json`` has to hold beside its schema."""


def read_direction_facts(folder: Path) -> dict[str, Any]:
    """``direction.json`` of a direction whose certificate passed and whose files are unchanged.

    Raises:
        UserError: If the folder is no direction, a file is absent, damaged or another one, or the
            certificate does not hold.

    Example:
        >>> read_direction_facts(Path("nowhere"))
        Traceback (most recent call last):
        loradrift.config.errors.UserError: nowhere is no direction: it has no direction.json; \
`python analyze.py analysis=persona_direction` writes directions
    """
    path = folder / FACTS
    if not path.is_file():
        raise UserError(f"{folder} is no direction: it has no {FACTS}; {MAKES}")
    facts = read_json(path)
    if facts.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema must be {SCHEMA}, got {facts.get('schema')}; {MAKES}")
    for key, kind in TYPES.items():
        if not isinstance(facts.get(key), kind):
            raise UserError(f"{path} is damaged: {key} is absent or of another type; {MAKES}")
    for name, digest in facts["sha256"].items():
        if not (folder / name).is_file():
            raise UserError(f"{folder} lacks {name}, which its {FACTS} names; {MAKES}")
        if sha256_of(folder / name) != digest:
            raise UserError(f"{folder / name} is not what {FACTS} was written for; {MAKES}")
    if facts["certificate"].get("passed") is not True:
        raise UserError(f"{path}: the direction's certificate does not hold: it is not used")
    return facts


def read_direction_changes(folder: Path) -> dict[str, LowRank]:
    """The direction's weight changes by module: those of the positive adapter less the negative's.

    Raises:
        UserError: As :func:`read_direction_facts`.
    """
    read_direction_facts(folder)
    return {
        name: change
        for name, change in read_adapter(folder / ADAPTER).items()
        if isinstance(change, LowRank)
    }


def check_base(facts: Mapping[str, Any], folder: Path, fingerprint: str) -> None:
    """Refuse a direction of another base model than the one with this fingerprint."""
    own = facts["base"].get("fingerprint")
    if own != fingerprint:
        raise UserError(
            f"{folder} is a direction of the base model with digest {str(own)[:12]}, and the model "
            f"in use has {fingerprint[:12]}: a direction of one model is none of another"
        )
