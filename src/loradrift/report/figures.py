"""The figures of a report, asked for by name and drawn when a page asks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from loradrift.config import check
from loradrift.report.blocks import Figure

Drawers = Mapping[str, Callable[[Any, Path], Figure | Sequence[Figure] | None]]
"""Name -> function that draws from tables, saves in a folder and gives the figure or figures; None
where the tables have nothing to show."""


def check_figures(wanted: Sequence[str], known: Collection[str]) -> None:
    """Refuse unknown names before anything is computed; the error names the known ones."""
    for name in wanted:
        check(name in known, "analysis.figures", "some of " + ", ".join(known), name)


class Figures:
    """The figures of a report by name, saved in ``folder``.

    ``wanted`` names those to draw, all if it is empty; ``sources`` are functions that draw, with
    the tables that they take.
    """

    def __init__(self, folder: Path, wanted: Sequence[str], *sources: tuple[Drawers, Any]) -> None:
        self.folder, self._wanted = folder, wanted
        self._drawers = {
            name: (draw, tables) for drawers, tables in sources for name, draw in drawers.items()
        }
        check_figures(wanted, self._drawers)

    def __getitem__(self, name: str) -> list[Figure]:
        """Draw and save what has that name; nothing if it is not wanted or the tables are empty."""
        draw, tables = self._drawers[name]
        if self._wanted and name not in self._wanted:
            return []
        drawn = draw(tables, self.folder)
        return [drawn] if isinstance(drawn, Figure) else list(drawn or ())
