"""What the terminal shows of the directions."""

from loradrift.analysis.persona_direction import PersonaDirectionConfig
from loradrift.analysis.persona_direction.tables import Directions
from loradrift.report.terminal import print_table


def show(_settings: PersonaDirectionConfig, found: Directions) -> None:
    """Print one line per direction, and where they are."""
    names = {"relative_norm": "relative norm"}
    table = found.table.drop(columns="folder").rename(columns=names)
    print_table(table, "Directions: positive minus negative adapter (error: largest of a module)")
    print(f"directions: {found.folder}")
