"""What an export leaves: folders that engines take, and the record that describes them."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.files import read_json, sha256_of, write_json

RECORD = "export.json"
VERSION = 3
"""Of what an export writes; a change of it makes earlier exports others."""

PARTS = ("adapter", "merged", "classifier")
"""The folders of an export, and the fields that name them."""


@dataclass(frozen=True)
class Servable:
    """A model that engines can serve, and how it was made."""

    name: str
    """What engines call it: the task of its run, or the name of the adapter's folder."""

    label: str
    """What reports write: generated data are said to be generated."""

    task: str | None
    source: Path
    """Folder of the run or the adapter."""

    base: Path
    """Folder of the base model; of whole weights, ``merged``."""

    base_fingerprint: str
    adapter: Path | None
    """PEFT folder that vLLM takes for the base; None where it takes none (DoRA, whole weights)."""

    merged: Path
    """The whole model in fp32, the adapter added to its weights."""

    classifier: Path | None
    """PEFT folder with the head as ``score``; None without a classifier's head."""

    classifier_base: Path | None
    """Model that the classifier is for: the base where there is an adapter, else ``merged``."""

    num_labels: int | None
    rank: int
    """The largest of the adapter's ranks; 0 without an adapter."""

    sha256: dict[str, str]
    """Digests of the files that the export was made of."""

    drawn: bool
    """Whether the adapter's factors are random."""

    notices: tuple[str, ...]
    """What was changed or left out, each a sentence."""

    checks: dict[str, float]
    """Largest difference of logits between each part and the source."""

    certificate: str | None
    """What the certificate says of the adapter's effect; None without an adapter."""

    digest: str
    """Of everything that went in."""

    files: dict[str, str]
    """sha256 of everything that came out: of the files in its parts."""


def write_servable(folder: Path, servable: Servable) -> None:
    """Write the record; parts of the export are named relative to it."""
    values = asdict(servable)
    for key, value in values.items():
        if isinstance(value, Path):
            inside = value.parent == servable.merged.parent
            values[key] = value.name if inside else str(value)
    write_json(folder / RECORD, {"schema_version": 1, **values})


def read_servable(out: Path) -> Servable:
    """Read the export in ``out``.

    Raises:
        UserError: If there is none, or a part of it is damaged or gone.
    """
    path = out / RECORD
    again = f"delete {out} and export again"
    try:
        values: dict[str, Any] = read_json(path)
        for key in (*PARTS, "source", "base", "classifier_base"):
            if values[key] is not None:
                values[key] = out / values[key]  # an absolute path stays what it is
        values["notices"] = tuple(values["notices"])
        servable = Servable(**{each.name: values[each.name] for each in fields(Servable)})
    except FileNotFoundError:
        raise UserError(f"{out} is no export: it has no {RECORD}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {again}") from None
    for folder in (servable.adapter, servable.merged, servable.classifier):
        if folder is not None and not any(folder.glob("*.safetensors")):
            raise UserError(f"{folder} holds no weights any more: {again}")
    return servable


def digests(out: Path) -> dict[str, str]:
    """sha256 of each file in the parts of the export in ``out``."""
    paths = sorted(path for part in PARTS for path in (out / part).rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): sha256_of(path) for path in paths}


def refuse_changed(out: Path, servable: Servable) -> None:
    """Raise a UserError if the parts in ``out`` are not, byte for byte, what was exported."""
    found, wanted = digests(out), servable.files
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            happened = "is gone" if name not in found else "has changed"
            happened = "was added" if name not in wanted else happened
            raise UserError(f"{out / name} {happened} since it was exported")
