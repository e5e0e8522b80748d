"""``analysis=frontier``: the answer, the curves, the ratios, and where each arm drifts less."""

from pathlib import Path

from loradrift.analysis.frontier import AnalyzeFrontierConfig
from loradrift.analysis.frontier.figures import FRONTIER
from loradrift.analysis.frontier.results_json import frontier_json
from loradrift.analysis.frontier.sections import (
    cards,
    comparison_block,
    facts,
    learned_block,
    opening,
    parts_block,
    rates_block,
)
from loradrift.analysis.frontier.sentences import (
    answer,
    comparison_text,
    diverged_lines,
    forgetting_text,
    task_label,
    where_text,
)
from loradrift.analysis.frontier.tables import Frontier
from loradrift.analysis.report_files import closing_blocks, write_report
from loradrift.report.blocks import Answer, Block, Heading
from loradrift.report.figures import Figures

FOLDER = "frontier"
"""Below the results."""

TITLE = "Frontier: what does accuracy cost in drift and in forgetting?"


def report(settings: AnalyzeFrontierConfig, found: Frontier) -> None:
    """Write results, tables and page; print the answer and every comparison."""
    folder = Path(settings.analysis.results, FOLDER, "figures")
    figures = Figures(folder, settings.analysis.figures, (FRONTIER, found))
    blocks = page_blocks(found, figures)
    where = write_report(frontier_json(found), found.tables, TITLE, blocks, figures)
    for line in [*found.problems, *diverged_lines(found)]:
        print(f"note: {line}")
    print(answer(found))
    for row in found.compared:
        print(f"{task_label(found, row['task'])}: {comparison_text(found, row)}")
        for text in filter(None, [forgetting_text(row), where_text(found, row)]):
            print(f"  {text}")
    print(where)


def page_blocks(found: Frontier, figures: Figures) -> list[Block]:
    """The page's content, in order; the figures are drawn as the blocks ask for them."""
    return [
        Answer(answer(found)),
        facts(found),
        cards(found),
        *opening(found),
        Heading("What accuracy costs"),
        *figures["accuracy_against_drift"],
        *figures["accuracy_against_forgetting"],
        Heading("At equal accuracy"),
        *figures["ratios"],
        *comparison_block(found),
        Heading("Where does which arm drift less?"),
        *figures["where"],
        *parts_block(found),
        Heading("What was learned, and what needs no drift"),
        *learned_block(found),
        Heading("Every rate"),
        *figures["drift_against_norm"],
        *rates_block(found),
        *closing_blocks(found.problems, found.self_checks),
    ]
