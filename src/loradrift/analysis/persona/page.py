"""``analysis=persona``: one page, a figure and a table for each of the five questions."""

from pathlib import Path

from loradrift.analysis.persona import AnalyzePersonaConfig
from loradrift.analysis.persona.drawers import PERSONA
from loradrift.analysis.persona.judge import judge_blocks
from loradrift.analysis.persona.question_tables import (
    composition_blocks,
    efficiency_blocks,
    matrix_block,
    prevention_blocks,
    space_blocks,
)
from loradrift.analysis.persona.results_json import persona_json
from loradrift.analysis.persona.section_tables import (
    answer_blocks,
    differences_block,
    doses_block,
    gains_block,
    summary_block,
    trends_block,
)
from loradrift.analysis.persona.sections import (
    cards,
    facts,
    headline,
    problem_blocks,
    verdict_text,
)
from loradrift.analysis.persona.tables import Persona
from loradrift.analysis.persona_projection.figures import PROJECTION
from loradrift.analysis.persona_projection.page import prediction_blocks, write_results
from loradrift.analysis.report_files import write_report
from loradrift.report.blocks import Answer, Block, Heading, Paragraph
from loradrift.report.figures import Figures

FOLDER = "persona"
"""Below the results."""


def report(settings: AnalyzePersonaConfig, persona: Persona) -> None:
    """Write results, tables and page; print the answer and every verdict."""
    folder = Path(settings.analysis.results, FOLDER)
    sources = (PERSONA, persona), (PROJECTION, persona.prediction)
    figures = Figures(folder / "figures", settings.analysis.figures, *sources)
    if persona.prediction is not None:
        write_results(folder, persona.prediction)
    title = "Persona: weights, activations and prompts that steer a trait"
    blocks = page_blocks(persona, figures)
    where = write_report(persona_json(persona), persona.tables, title, blocks, figures)
    for line in (*persona.problems, *persona.missing):
        print(f"note: {line}")
    print(headline(persona))
    for found in persona.findings.values():
        print(f"{found.name}: {found.claim}: {verdict_text(found)}")
    print(where)


def foretold(persona: Persona, figures: Figures) -> list[Block]:
    """What projections say of behaviour, or what is missing for it."""
    if persona.prediction is None:
        why = persona.findings["prediction"].why
        return [Paragraph(f"Nothing can be said of projections: {why}.")]
    return prediction_blocks(persona.prediction, figures)


def page_blocks(persona: Persona, figures: Figures) -> list[Block]:
    """The page's content, in order; the figures are drawn as the blocks ask for them."""
    return [
        Answer(headline(persona)),
        facts(persona),
        cards(persona),
        *problem_blocks(persona),
        Heading("Equivalence: do weights and activations do the same?"),
        *summary_block(persona),
        *figures["differences"],
        *figures["gains"],
        *gains_block(persona),
        *differences_block(persona),
        *figures["frontier"],
        *figures["doses"],
        *trends_block(persona),
        *figures["costs"],
        *doses_block(persona),
        Heading("Prediction: does a direction foretell what a fine-tuning does?"),
        *foretold(persona, figures),
        *figures["prevention"],
        *prevention_blocks(persona),
        Heading("Efficiency: what does steering cost per token?"),
        *figures["efficiency"],
        *efficiency_blocks(persona),
        Heading("Composition: do two directions add up?"),
        *figures["composition"],
        *composition_blocks(persona),
        Heading("Interpretability: what else does a direction do?"),
        *figures["entanglement"],
        *matrix_block(persona),
        *figures["spaces"],
        *space_blocks(persona),
        Heading("Answers, and their judge"),
        *answer_blocks(persona),
        *judge_blocks(persona),
        Heading("What is missing or left out"),
        *(Paragraph(line) for line in (*persona.missing, *persona.problems)),
    ]
