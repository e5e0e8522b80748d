"""``benchmark=export``: any run, or adapter, as folders that an engine can serve."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loradrift.caching import cached
from loradrift.config import UserError
from loradrift.config.errors import check
from loradrift.config.keys import typed_keys
from loradrift.config.values import check_folder
from loradrift.files import write_atomic
from loradrift.serving.config import ExportConfig
from loradrift.serving.export_servable import RECORD, Servable, read_servable, refuse_changed

if TYPE_CHECKING:
    from loradrift.serving.export_source import Source

OWN = ("run", "base", "out")
"""What an export depends on."""

USED = ("benchmark", "runs", "results", "cache", *OWN)
"""What may be typed: the places of all work, too."""

__all__ = ["Servable", "draw_adapter", "export", "export_cached", "read_servable", "run"]


def run(config: ExportConfig, overrides: Sequence[str]) -> None:
    """Export what ``run=`` names, and print what was written and how it is served."""
    from loradrift.serving.export_source import find_source
    from loradrift.serving.export_table import print_export

    refuse_idle_keys(overrides)
    source = find_source(Path(config.run), config.base)
    out = Path(config.out or Path(config.results, "export", source.folder_name))
    servable, before = _export(source, out)
    if before:
        print(f"exported already, nothing to do: {out}")
    print_export(servable, out)


def refuse_idle_keys(overrides: Sequence[str]) -> None:
    """Raise a UserError if something was typed that has no effect on an export."""
    for key in sorted(typed_keys(overrides)):
        if key not in USED:
            raise UserError(f"{key} has no effect with benchmark=export: {', '.join(OWN)} have")


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

    return _export(find_source(source, base), out)[0]


def export_cached(source: Path, cache: Path, *, base: str | None = None) -> Servable:
    """The export of a run or an adapter below ``<cache>/served``, made on first use.

    Each version has a folder of its own, named by a digest of what went in.

    Raises:
        UserError: As :func:`export`.
    """
    from loradrift.serving.export_source import find_source
    from loradrift.serving.export_write import write_export

    found = find_source(source, base)
    folder = cache / "served" / found.folder_name
    return recalled(folder, lambda new: write_export(found, new, folder))


def draw_adapter(
    base: Path, cache: Path, *, like: Path | None = None, rank: int, seed: int, name: str
) -> Servable:
    """The export of an adapter of random factors, which no run has trained, and of its merge.

    Its factors are scaled so that it moves the outputs as far as a trained one; every seed gives
    another adapter. It is below ``<cache>/served``, made on first use.

    Args:
        base: Folder of the base model.
        cache: Folder of what can be made again.
        like: Folder of a trained adapter of this base, or of its run, whose modules and effect it
            gets; None takes all linear layers, and an effect as trained adapters have it.
        rank: R of every module.
        seed: Draws the factors.
        name: What engines call it.

    Raises:
        UserError: If the rank is above the largest that vLLM takes.
    """
    from loradrift.adapters import read_files
    from loradrift.diagnose.adapter_case import find_adapter
    from loradrift.serving.export_drawn import Drawing, export_drawn
    from loradrift.serving.export_limits import LARGEST_RANK

    check(0 < rank <= LARGEST_RANK, "rank", f"from 1 to {LARGEST_RANK}", rank)
    files = None if like is None else read_files(find_adapter(str(like))[0])
    drawing = Drawing(base.resolve(), files, rank, seed, name)
    folder = (cache / "served" / f"{name}-{drawing.digest}").absolute()
    return recalled(folder, lambda new: export_drawn(drawing, new, folder))


def recalled(folder: Path, make: Callable[[Path], object]) -> Servable:
    """The export in ``folder``, made if it is absent or damaged."""

    def read(there: Path) -> Servable:
        (there / RECORD).stat()  # an absent entry is not a damaged one
        servable = read_servable(there)
        refuse_changed(there, servable)
        return servable

    return cached(folder.absolute(), make, read)


def _write(out: Path, write: Callable[[Path, Path], None]) -> Servable:
    """Write an export: all of it, or nothing."""
    out = out.absolute()
    with write_atomic(out) as new:
        write(new, out)
    return read_servable(out)


def _exported(digest: str, out: Path) -> Servable | None:
    """What ``out`` holds already, if it is this very export; None where it can be written."""
    check_folder("out", str(out))
    with suppress(FileNotFoundError):
        if next(out.iterdir(), None) is None:
            return None
        if not (out / RECORD).is_file():
            raise UserError(f"out={out} must be a new folder, and holds something else already")
        there = read_servable(out)
        if there.digest != digest:
            raise UserError(
                f"out={out} holds another export, of {there.source}: give another folder"
            )
        try:
            refuse_changed(out, there)
        except UserError as changed:
            raise UserError(f"{changed}: delete {out} and export again") from None
        return there
    return None


def _export(source: "Source", out: Path) -> tuple[Servable, bool]:
    """The export in ``out``, and whether it was there before."""
    from loradrift.serving.export_write import write_export

    kept = [place for place in (source.folder, source.base) if place is not None]
    if inside := [place for place in kept if place in (out.resolve(), *out.resolve().parents)]:
        raise UserError(f"out={out} must be outside of {inside[0]}, which is exported from")
    if there := _exported(source.digest, out):
        return there, True
    return _write(out, partial(write_export, source)), False
