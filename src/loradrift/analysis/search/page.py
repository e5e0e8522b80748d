"""``analysis=search``: what the searches of a study found, and where they should look further."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.labels import task_labels, with_labels
from loradrift.analysis.search import SearchReportConfig
from loradrift.analysis.search.figures import NO_TIME, SEARCHES
from loradrift.analysis.search.tables import MIN_TRIALS, STATES, Found, Searches
from loradrift.analysis.tables import read_tables
from loradrift.report.blocks import Block, Heading, Paragraph, Table, cell_text, in_words
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.report.style import method_label
from loradrift.report.terminal import print_table


def report(settings: SearchReportConfig, found: Found) -> None:
    """Write figures and page in ``<results>/search/<study>/``; print the summary."""
    config, tables = settings.analysis, for_readers(found.tables)
    folder = Path(config.results) / "search" / found.name
    figures = Figures(folder / "figures", config.figures, (SEARCHES, found))
    title = f"Searches of study {found.name}"
    write_html(folder / "report.html", title, search_blocks(tables, figures), figures.folder)
    print_table(summary_table(tables), title)
    for row in tables.edges.to_dict("records"):
        print(
            f"edge: {row['task']}, {row['method']}: {row['key']}={row['value']} is on the "
            f"{row['side']} edge of {row['searched']}, so a better one may lie beyond"
        )
    for line in without_importance(tables):
        print(f"note: {line}")
    print(f"report: {folder / 'report.html'}, best values: {folder}/*.yaml", flush=True)


def for_readers(tables: Searches) -> Searches:
    """The tables with labels for tasks and methods."""
    labels = task_labels(tables.summary)
    return Searches(*(_labelled(table, labels) for table in tables))


def _labelled(table: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    return with_labels(table, labels).assign(method=[*map(method_label, table["method"])])


def search_blocks(tables: Searches, figures: Figures) -> list[Block]:
    """Compose the page."""
    trials = tables.trials.drop(columns="cell").rename(columns={"seconds": "time (s)"})
    return [
        Paragraph(
            "Each method's learning rate and size come from its own search, on validation rows "
            "that are in neither the training nor the reported evaluation split."
        ),
        Table(
            summary_table(tables),
            "One row per search, with the best trial's values (the first's, where others came to "
            f"the same score). The time is the median over the trials that ended. {NO_TIME}",
            digits=4,
        ),
        *edge_blocks(tables.edges),
        Heading("History"),
        *figures["search_history"],
        Heading("Parameters"),
        *figures["search_parallel"],
        *figures["search_importance"],
        *map(Paragraph, without_importance(tables)),
        Heading("Time"),
        *figures["search_time"],
        Heading("Trials"),
        Table(trials[[*trials.columns.drop("error"), "error"]], f"All trials. {NO_TIME}", digits=4),
    ]


def edge_blocks(edges: pd.DataFrame) -> list[Block]:
    """Flag best values on the edge of their range; nothing if there are none."""
    caption = (
        "Best values within 5 % of the end of their range, or first or last of its choices: better "
        "ones may lie beyond. A wider range is typed beside the search's command, with another "
        "study.name: the space of a search that has begun is fixed."
    )
    return [] if edges.empty else [Table(edges, caption)]


def found_edges(results: Path, study: str | None) -> list[Block]:
    """Flag them in another report, if ``analysis=search`` was run for that study, or one alone."""
    folders = [path.parent for path in sorted((results / "search").glob("*/edges.parquet"))]
    mine = [folder for folder in folders if study in (None, folder.name)]
    if len(mine) != 1:
        return []
    tables = read_tables(mine[0], ["summary", "edges"], "python analyze.py analysis=search")
    return edge_blocks(_labelled(tables["edges"], task_labels(tables["summary"])))


def without_importance(tables: Searches) -> list[str]:
    """Name each search with too few trials to say what mattered."""
    few = tables.summary[tables.summary["complete"] < MIN_TRIALS]
    return [
        f"{row['task']}, {row['method']}: {row['complete']} completed trials are too few to say "
        f"which parameters matter; {MIN_TRIALS} are needed"
        for row in few.to_dict("records")
    ]


def summary_table(tables: Searches) -> pd.DataFrame:
    """Make the table that the terminal shows."""
    values: dict[Any, list[str]] = defaultdict(list)
    for task, method, number, key, value in tables.coordinates.itertuples(index=False):
        [name] = in_words([key])
        values[task, method, number].append(f"{name} {_four_digits(value)}")
    rows = []
    for row in tables.summary.to_dict("records"):
        has_best = pd.notna(row["best_trial"])
        others = {0: "", 1: ", and 1 other"}.get(row["tied"], f", and {row['tied']} others")
        best = values[row["task"], row["method"], row["best_trial"]] if has_best else []
        shown = {
            "task": row["task"],
            "method": row["method"],
            "trials": ", ".join(f"{row[state]} {state}" for state in STATES if row[state]),
            "objective": row["objective"],
            "best": cell_text(row["best_value"], 4),
            "in trial": f"{row['best_trial']}{others}" if has_best else "-",
            "with": ", ".join(best) or "-",
            "time (s)": cell_text(row["median_seconds"]),
        }
        rows.append(shown)
    return pd.DataFrame(rows).fillna("-")


def _four_digits(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value
