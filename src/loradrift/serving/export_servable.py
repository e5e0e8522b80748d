"""What an export leaves: folders that engines take, and the record that describes them."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.files import read_json, write_json

RECORD = "export.json"
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
    """Folder of the base model."""

    base_fingerprint: str
    adapter: Path | None
    """PEFT folder that vLLM takes for the base; None where it takes none (DoRA, full weights)."""

    merged: Path
    """The whole model in fp32, the adapter added to its weights."""

    classifier: Path | None
    """PEFT folder with the head as ``score``; None without a classifier's head."""

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
    """The verdict on the adapter as it was applied; None without an adapter."""

    digest: str
    """Of everything that went in."""


def write_servable(folder: Path, servable: Servable) -> None:
    """Write the record; the export's own folders are named relative to it."""
    values = asdict(servable)
    for part in PARTS:
        values[part] = None if values[part] is None else part
    paths = {key: str(values[key]) for key in ("source", "base")}
    write_json(folder / RECORD, {"schema_version": 1, **values, **paths})


def read_servable(out: Path) -> Servable:
    """Read the export in ``out``.

    Raises:
        UserError: If there is none, or a part of it is damaged or gone.
    """
    path = out / RECORD
    try:
        values: dict[str, Any] = read_json(path)
        values.pop("schema_version")
        folders = {part: out / part for part in PARTS if values[part] is not None}
        paths = {key: Path(values[key]) for key in ("source", "base")}
        values |= {**folders, **paths, "notices": tuple(values["notices"])}
        servable = Servable(**{each.name: values[each.name] for each in fields(Servable)})
    except FileNotFoundError:
        raise UserError(f"{out} is no export: it has no {RECORD}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): delete {out} and export again") from None
    for folder in folders.values():
        if not any(folder.glob("*.safetensors")):
            raise UserError(f"{folder} holds no weights any more: delete {out} and export again")
    return servable
