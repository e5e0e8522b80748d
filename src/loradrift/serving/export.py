"""``benchmark=export``: any run, or adapter, as folders that an engine can serve."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loradrift.caching import cached
from loradrift.config import UserError
from loradrift.files import write_atomic
from loradrift.serving.config import ExportConfig
from loradrift.serving.export_servable import RECORD, Servable, read_servable, write_servable

if TYPE_CHECKING:
    from loradrift.serving.export_source import Source

__all__ = ["Servable", "export", "export_cached", "read_servable", "run"]


def run(config: ExportConfig, overrides: Sequence[str]) -> None:
    """Export what ``run=`` names, and print what was written and how it is served."""
    folder = Path(config.run)
    out = Path(config.out or Path(config.results, "export", folder.name))
    servable = export(folder, out, base=config.base)
    print(f"{servable.label}: {out}")


def export(source: Path, out: Path, *, base: str | None = None) -> Servable:
    """Write ``out`` with the adapter, the merged model and the classifier of a run or an adapter.

    Nothing is done where ``out`` holds just that already.

    Args:
        source: Folder of a run, or of a PEFT adapter.
        out: A new folder, or one with the same export.
        base: Folder or hub name of the base model; None is what the adapter names.

    Raises:
        UserError: If it cannot be exported, a certificate does not hold, or ``out`` holds anything
            else.
    """
    from loradrift.serving.export_source import find_source

    found = find_source(source, base)
    if out.exists() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise UserError(f"out={out} must be a new folder, and holds something else already")
        there = read_servable(out)
        if there.digest != found.digest:
            raise UserError(f"out={out} holds the export of {there.source}: choose another folder")
        return there
    with write_atomic(out) as new:
        _write(found, new, out)
    return read_servable(out)


def export_cached(source: Path, cache: Path, *, base: str | None = None) -> Servable:
    """The export of a run or an adapter below ``<cache>/served``, made on first use.

    Each version has a folder of its own, named by a digest of what went in.
    """
    from loradrift.serving.export_source import find_source

    found = find_source(source, base)
    folder = cache / "served" / f"{found.name}-{found.digest}"

    def read(there: Path) -> Servable:
        (there / RECORD).stat()  # an absent entry is no damaged one
        return read_servable(there)

    return cached(folder, lambda new: _write(found, new, folder), read)


def _write(found: "Source", new: Path, out: Path) -> None:
    from loradrift.serving.export_parts import (
        classifier_head,
        write_adapter,
        write_classifier,
        write_merged,
    )

    new.mkdir()
    files = found.case.files
    head = classifier_head(files)
    write_adapter(found, new / "adapter")
    write_merged(found, new / "merged")
    if head is not None:
        write_classifier(found, head, new / "classifier")
    servable = Servable(
        name=found.name,
        label=found.label,
        task=None if found.run is None else found.name,
        source=found.folder.resolve(),
        base=found.base,
        base_fingerprint=found.base_fingerprint,
        adapter=out / "adapter",
        merged=out / "merged",
        classifier=None if head is None else out / "classifier",
        num_labels=None if head is None else len(head["bias"]),
        rank=max(files.rank(module) for module in files.parts),
        sha256=found.sha256,
        drawn=False,
        notices=(),
        checks={},
        certificate=None,
        digest=found.digest,
    )
    write_servable(new, servable)
