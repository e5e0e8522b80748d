"""``manifest.json`` of an activation store: what it holds, and how it was made."""

import json
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from loradrift.config import UserError

SCHEMA_VERSION = 1

BOS = "bos"
"""Key of the beginning-of-sequence token's activations, beside the layers."""


class StoreError(UserError):
    """A file of the store could not be written or read; the message names it."""


class ProbeRecord(TypedDict):
    """Which rows the activations belong to."""

    fingerprint: str
    ids: list[str]
    num_tokens: NotRequired[list[int]]
    """Tokens pooled into each row; with ``mean`` pooling, in stores since it was introduced."""


class Shard(TypedDict):
    """One whole file: its name, SHA-256, size in bytes, and the shape of each tensor."""

    file: str
    sha256: str
    bytes: int
    shapes: dict[str, list[int]]


class Manifest(TypedDict):
    """What ``manifest.json`` holds; ``steps`` maps a step, in decimal digits, to its file."""

    schema_version: int
    probe: ProbeRecord
    pooling: str
    dtype: str
    layers: list[str]
    steps: dict[str, Shard]


def read_manifest(path: Path) -> Manifest | None:
    """Read a manifest; ``None`` if there is no such file.

    Raises:
        StoreError: If it is not JSON, of an unknown schema version, or lacks a key.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path}: schema_version must be {SCHEMA_VERSION}, got {version}; update "
            "loradrift, or move the run away and repeat its own command"
        )
    if missing := sorted(Manifest.__required_keys__ - manifest.keys()):
        raise StoreError(f"{path} is damaged: it lacks {missing}")
    return cast(Manifest, manifest)
