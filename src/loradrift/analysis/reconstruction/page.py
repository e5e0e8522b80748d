"""``analysis=reconstruction``: the answer, the comparison, the ladder, the cost in bytes."""

from pathlib import Path

from loradrift.analysis.reconstruction import AnalyzeReconstructionConfig
from loradrift.analysis.reconstruction.drawers import RECONSTRUCTION
from loradrift.analysis.reconstruction.results_json import reconstruction_json
from loradrift.analysis.reconstruction.section_tables import (
    arms_block,
    cka_block,
    collapse_blocks,
    examples_block,
    gains_block,
    ladder_block,
    latents_block,
    rate_block,
)
from loradrift.analysis.reconstruction.sections import (
    cards,
    facts,
    headline,
    problem_blocks,
    verdict_text,
)
from loradrift.analysis.reconstruction.tables import Reconstruction
from loradrift.analysis.report_files import closing_blocks, write_report
from loradrift.report.blocks import Answer, Block, Heading
from loradrift.report.figures import Figures

FOLDER = "reconstruction"
"""Below the results."""

TITLE = "Reconstruction: does LoRA help a language model to read a compressed context?"


def report(settings: AnalyzeReconstructionConfig, found: Reconstruction) -> None:
    """Write results, tables and page; print the answer and every verdict."""
    folder = Path(settings.analysis.results, FOLDER, "figures")
    figures = Figures(folder, settings.analysis.figures, (RECONSTRUCTION, found))
    blocks = page_blocks(found, figures)
    where = write_report(reconstruction_json(found), found.tables, TITLE, blocks, figures)
    for line in found.problems:
        print(f"note: {line}")
    print(headline(found))
    for finding in found.findings.values():
        print(f"{finding.name}: {finding.claim}: {verdict_text(finding)}")
    print(where)


def page_blocks(found: Reconstruction, figures: Figures) -> list[Block]:
    """The page's content, in order; the figures are drawn as the blocks ask for them."""
    return [
        Answer(headline(found)),
        facts(found),
        cards(found),
        *problem_blocks(found),
        Heading("Arms: does adapting the language model help?"),
        *gains_block(found),
        *figures["gains"],
        *figures["ranks"],
        *arms_block(found),
        Heading("Ladder: how good can it be, and is the latent read?"),
        *figures["ladder"],
        *ladder_block(found),
        *latents_block(found),
        Heading("Rate and distortion: what do bytes buy?"),
        *figures["rate"],
        *rate_block(found),
        Heading("Training"),
        *figures["curves"],
        Heading("Collapse"),
        *figures["collapse"],
        *collapse_blocks(found),
        Heading("Drift: what does it cost the language model?"),
        *cka_block(found),
        Heading("Examples"),
        *examples_block(found),
        *closing_blocks(found.problems, found.self_checks),
    ]
