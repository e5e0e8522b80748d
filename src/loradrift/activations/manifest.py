"""``manifest.json`` of an activation store, and files that are either whole or absent."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from loradrift.activations.pooling import Pooling
from loradrift.activations.probe import Probe
from loradrift.config import UserError

SCHEMA_VERSION = 1


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


def new_manifest(
    probe: Probe, pooling: Pooling, dtype: str, layer_names: Sequence[str]
) -> Manifest:
    """The manifest of a store without steps."""
    record: ProbeRecord = {"fingerprint": probe.fingerprint, "ids": list(probe.ids)}
    if pooling.name == "mean":
        record["num_tokens"] = probe.num_tokens
    return Manifest(
        schema_version=SCHEMA_VERSION,
        probe=record,
        pooling=pooling.label,
        dtype=dtype,
        layers=list(layer_names),
        steps={},
    )


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


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest atomically.

    Raises:
        StoreError: If the disk is full or the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps(manifest, indent=2).encode())
        to_disk(file)


def differences(here: Manifest, wanted: Manifest) -> list[str]:
    """What keeps ``wanted`` from continuing ``here``, one phrase for each difference."""
    compared = {
        "probe fingerprint": (here["probe"]["fingerprint"], wanted["probe"]["fingerprint"]),
        "pooling": (here["pooling"], wanted["pooling"]),
        "dtype": (here["dtype"], wanted["dtype"]),
        "layers": (here["layers"], wanted["layers"]),
    }
    return [
        f"{what} must be {there}, got {asked}"
        for what, (there, asked) in compared.items()
        if there != asked
    ]


def check_shard(root: Path, shard: Shard) -> None:
    """Compare a file with its checksum.

    Raises:
        StoreError: If the file is gone or damaged.
    """
    path = root / shard["file"]
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if sha256 != shard["sha256"]:
        raise StoreError(f"{path} is damaged: its sha256 must be {shard['sha256']}, got {sha256}")


def check_sizes(root: Path, manifest: Manifest) -> None:
    """Compare all files with their sizes, reading none.

    Raises:
        StoreError: If a file is gone, or of another size than it was written.
    """
    for shard in manifest["steps"].values():
        path = root / shard["file"]
        try:
            size = path.stat().st_size
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        if size != shard["bytes"]:
            raise StoreError(f"{path} is damaged: it must have {shard['bytes']} bytes, got {size}")


@contextmanager
def replacing(path: Path) -> Iterator[BufferedRandom]:
    """Open a file beside ``path`` to write to; rename it to ``path`` if the block succeeds.

    The block calls :func:`to_disk` when all is written.

    Raises:
        StoreError: If the disk is full or the folder cannot be written; the temporary file is
            removed and the file at ``path`` is as before.
    """
    # Not files.write_atomic: the block may rely on the data being on disk.
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def to_disk(file: BufferedRandom) -> None:
    """Return once everything that was written to ``file`` is on disk."""
    file.flush()
    os.fsync(file.fileno())
