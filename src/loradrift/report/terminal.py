"""Tables in the terminal."""

import pandas as pd

from loradrift.report.blocks import cell_text


def print_table(frame: pd.DataFrame, title: str) -> None:
    """A table in the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log file has no edge to fold at
    table = Table(*map(str, frame.columns), title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*map(cell_text, row))
    console.print(table)
