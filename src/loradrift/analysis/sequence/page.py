"""``analysis=sequence``: the answer, what became of earlier tasks, of neutral text, of drift."""

from pathlib import Path

from loradrift.analysis.report_files import closing_blocks, write_report
from loradrift.analysis.sequence import AnalyzeSequenceConfig
from loradrift.analysis.sequence.figures import SEQUENCE
from loradrift.analysis.sequence.results_json import sequence_json
from loradrift.analysis.sequence.sections import (
    along_block,
    cards,
    comparison_block,
    facts,
    learned_block,
    matrix_block,
    opening,
    summary_block,
)
from loradrift.analysis.sequence.sentences import (
    answer,
    comparison_text,
    diverged_lines,
    unlearned_lines,
)
from loradrift.analysis.sequence.tables import ChainReport
from loradrift.report.blocks import Answer, Block, Heading
from loradrift.report.figures import Figures

FOLDER = "sequence"
"""Below the results."""

TITLE = "Sequence: what does a chain of tasks forget?"


def report(settings: AnalyzeSequenceConfig, found: ChainReport) -> None:
    """Write results, tables and page; print the answer and every comparison."""
    folder = Path(settings.analysis.results, FOLDER, "figures")
    figures = Figures(folder, settings.analysis.figures, (SEQUENCE, found))
    blocks = page_blocks(found, figures)
    where = write_report(sequence_json(found), found.tables, TITLE, blocks, figures)
    for line in [*found.problems, *diverged_lines(found), *unlearned_lines(found)]:
        print(f"note: {line}")
    print(answer(found))
    for row in found.compared:
        print(f"  {comparison_text(row)}")
    print(where)


def page_blocks(found: ChainReport, figures: Figures) -> list[Block]:
    """The page's content, in order; the figures are drawn as the blocks ask for them."""
    return [
        Answer(answer(found)),
        facts(found),
        cards(found),
        *opening(found),
        Heading("What became of earlier tasks"),
        *figures["score_matrix"],
        *figures["scores_along"],
        *figures["transfer"],
        *summary_block(found),
        Heading("Neutral text and drift along the chain"),
        *figures["along"],
        *along_block(found),
        *figures["drift_matrix"],
        *figures["layer_profiles"],
        Heading("Against the control"),
        *comparison_block(found),
        Heading("Every task after every step"),
        *matrix_block(found),
        Heading("What was learned"),
        *learned_block(found),
        *closing_blocks(found.problems, found.self_checks),
    ]
