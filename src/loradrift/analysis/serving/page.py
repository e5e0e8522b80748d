"""``analysis=serving``: what several adapters in one engine cost, and what to set."""

from pathlib import Path

import pandas as pd

from loradrift.analysis.serving import AnalyzeServingConfig
from loradrift.analysis.serving.drawers import CELLS, SERVING
from loradrift.analysis.serving.results_json import deployment_json
from loradrift.analysis.serving.section_tables import (
    adapter_blocks,
    arms_table,
    classification_blocks,
    percentile_tables,
    setting_blocks,
)
from loradrift.analysis.serving.sections import (
    advice_blocks,
    apart_blocks,
    cards,
    cells_table,
    facts,
    problems,
    stability_blocks,
)
from loradrift.analysis.serving.summary import print_cell
from loradrift.analysis.serving.tables import Serving, all_cells
from loradrift.analysis.serving.verdict import h3_sentence
from loradrift.analysis.tables import write_tables
from loradrift.files import write_atomic, write_json
from loradrift.report.blocks import Answer, Block, Heading, Paragraph
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.report.pdf import write_pdf

TABLES = ("calls", "latencies", "bands", "overheads", "adapters", "cold", "memory", "starts")


def report(settings: AnalyzeServingConfig, serving: Serving) -> None:
    """Write results, tables and page; print what is asked for, and a line for each other cell."""
    folder = Path(settings.analysis.results, "deployment")
    figures = Figures(
        folder / "figures", settings.analysis.figures, (SERVING, serving.cells[0]), (CELLS, serving)
    )
    write_json(folder / "deployment_benchmark.json", deployment_json(serving))
    write_tables(folder, {name: all_cells(serving, name) for name in TABLES})
    _write_samples(folder / "samples.parquet", serving)
    name = serving.cells[0].cell.name.replace(",", ", ")  # a line may end there
    title = f"Serving adapters side by side: {name}"
    blocks = page_blocks(serving, figures)
    write_html(folder / "report.html", title, blocks, figures.folder)
    write_pdf(folder / "report.pdf", title, blocks, figures.folder)
    for line in serving.problems:
        print(f"note: {line}")
    first, *others = serving.cells
    by_name = {each.cell.name: each for each in others}
    for each in others:
        if each.cell.name not in settings.shown:
            marks = f" [{each.cell.marks}]" if each.cell.marks else ""
            print(f"{each.cell.name}{marks}: {h3_sentence(each.cell, each.verdict)}")
    for name in settings.shown:
        if name in by_name:  # else it is damaged, as a note says
            print_cell(by_name[name])
    print_cell(first)
    print(f"results: {folder / 'deployment_benchmark.json'}, report: {folder / 'report.html'}")


def _write_samples(path: Path, serving: Serving) -> None:
    """All answers of all cells, one row per request; ``phase`` says which are not timed."""
    samples = [each.cell.answers.assign(cell=each.cell.name) for each in serving.cells]
    with write_atomic(path) as temporary:
        pd.concat(samples, ignore_index=True).drop(columns="place").to_parquet(
            temporary, index=False
        )


def page_blocks(serving: Serving, figures: Figures) -> list[Block]:
    """The page's content, in order; the figures are drawn as the blocks ask for them."""
    first, *others = serving.cells
    side_by_side: list[Block] = [*figures["cells"], cells_table(serving.cells)] if others else []
    return [
        Answer(h3_sentence(first.cell, first.verdict)),
        facts(first),
        cards(first),
        *problems(serving),
        *figures["overheads"],
        Heading("What to set"),
        *advice_blocks(first),
        Heading("All arms"),
        arms_table(first),
        *figures["batches"],
        *figures["overhead_map"],
        Heading("Merge, or serve side by side"),
        *figures["memory"],
        Heading("Slots, ranks, first requests, start-up"),
        *figures["settings"],
        *figures["cold_warm"],
        *setting_blocks(first),
        Heading("Each adapter"),
        *adapter_blocks(first),
        Heading("A server under load"),
        *figures["server"],
        Heading("Classifiers side by side"),
        *classification_blocks(first),
        Heading("Whether answers can be told apart"),
        *apart_blocks(first),
        Heading("Whether rounds are alike"),
        Paragraph(
            "Overheads are paired by round: of the log of an arm's time the mean of the merged "
            "models' is taken away, and the mean over rounds has a t interval. The bootstrap draws "
            "rounds with repetition; with 5 of them it is too narrow, and decides nothing."
        ),
        *stability_blocks(first),
        Heading("Every latency"),
        *percentile_tables(first),
        Heading("All cells"),
        *side_by_side,
    ]
