"""Tables in the terminal."""

import pandas as pd

from loradrift.report.blocks import cell_text, in_words


def print_table(frame: pd.DataFrame, title: str, *, groups: int = 0) -> None:
    """Print a table in the terminal.

    The first ``groups`` columns are said once for all rows that share them; a line parts the
    groups of the first.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log file has no edge to fold at
    table = Table(title=title)
    for name in in_words(frame.columns):
        table.add_column(name, overflow="fold")  # no figure is cut
    before: list[str] = []
    for row in frame.itertuples(index=False):
        cells = list(map(cell_text, row))
        shared = 0
        while before and shared < groups and cells[shared] == before[shared]:
            shared += 1
        if groups and before and not shared:
            table.add_section()
        table.add_row(*[""] * shared, *cells[shared:])
        before = cells
    console.print(table)
