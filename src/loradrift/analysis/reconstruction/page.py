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
from loradrift.analysis.self_check.tables import self_check_table
from loradrift.analysis.tables import write_tables
from loradrift.files import write_json
from loradrift.report.blocks import Answer, Block, Heading, Paragraph, Table
from loradrift.report.figures import Figures
from loradrift.report.html import write_html

FOLDER = "reconstruction"
"""Below the results."""

TITLE = "Reconstruction: does LoRA help a language model to read a compressed context?"


def report(settings: AnalyzeReconstructionConfig, found: Reconstruction) -> None:
    """Write results, tables and page; print the answer and every verdict."""
    folder = Path(settings.analysis.results, FOLDER)
    figures = Figures(folder / "figures", settings.analysis.figures, (RECONSTRUCTION, found))
    write_json(folder / "reconstruction.json", reconstruction_json(found))
    write_tables(folder, found.tables)
    write_html(folder / "report.html", TITLE, page_blocks(found, figures), figures.folder)
    for line in found.problems:
        print(f"note: {line}")
    print(headline(found))
    for finding in found.findings.values():
        print(f"{finding.name}: {finding.claim}: {verdict_text(finding)}")
    print(f"results: {folder / 'reconstruction.json'}, report: {folder / 'report.html'}")


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
        Heading("What is missing or left out"),
        *map(Paragraph, found.problems),
        Heading("The instrument"),
        Table(self_check_table(found.self_checks), "Every self-check of CKA."),
    ]
