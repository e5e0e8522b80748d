"""The files that an analysis of a study leaves, and how its page ends."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from loradrift.analysis.self_check.tables import self_check_table
from loradrift.analysis.tables import write_tables
from loradrift.files import write_json
from loradrift.report.blocks import Block, Heading, Paragraph, Table
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.similarity import SelfCheck


def write_report(
    results: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    title: str,
    blocks: Sequence[Block],
    figures: Figures,
) -> str:
    """Write ``<name>.json``, the tables and ``report.html`` into the folder ``<name>``.

    That folder is the one that holds the figures' folder. Returns the line that says where the
    results and the report are.
    """
    folder = figures.folder.parent
    path, page = folder / f"{folder.name}.json", folder / "report.html"
    write_json(path, results)
    write_tables(folder, tables)
    write_html(page, title, blocks, figures.folder)
    return f"results: {path}, report: {page}"


def closing_blocks(problems: Iterable[str], self_checks: Sequence[SelfCheck]) -> list[Block]:
    """What is missing or left out, and the self-checks of CKA."""
    return [
        Heading("What is missing or left out"),
        *map(Paragraph, problems),
        Heading("The instrument"),
        Table(self_check_table(self_checks), "Every self-check of CKA."),
    ]
