"""``analysis=persona_projection``: results, tables, figures and a page of their own."""

from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.persona_projection import AnalyzeProjectionConfig
from loradrift.analysis.persona_projection.figures import PROJECTION
from loradrift.analysis.persona_projection.prediction import FIGURES, SUCCESS, claim
from loradrift.analysis.persona_projection.tables import Prediction, figure_texts
from loradrift.analysis.plain_json import plain, rows
from loradrift.analysis.tables import write_tables
from loradrift.files import write_json
from loradrift.report.blocks import Answer, Block, Heading, Paragraph, Table, interval_text
from loradrift.report.figures import Figures
from loradrift.report.html import write_html

FOLDER = "persona"
"""Below the results, beside the report of steering."""


def report(settings: AnalyzeProjectionConfig, found: Prediction) -> None:
    """Write everything, and print the answer."""
    folder = Path(settings.analysis.results, FOLDER)
    figures = Figures(folder / "figures", settings.analysis.figures, (PROJECTION, found))
    write_results(folder, found)
    blocks = [
        Answer(headline(found)),
        Heading("Projection and behaviour"),
        *prediction_blocks(found, figures),
        Heading("What is left out"),
        *(Paragraph(line) for line in found.problems),
    ]
    path = folder / "persona_projection.html"
    write_html(path, "Persona: projections that foretell behaviour", blocks, figures.folder)
    for line in found.problems:
        print(f"note: {line}")
    print(headline(found))
    print(f"results: {folder / 'persona_projection.json'}, report: {path}")


def write_results(folder: Path, found: Prediction) -> None:
    """The JSON and the tables."""
    write_json(folder / "persona_projection.json", projection_json(found))
    tables = {"points": found.points, "figures": found.figures, "traits": found.traits,
              "monitor": found.monitor}  # fmt: skip
    write_tables(folder, {f"projection_{name}": table for name, table in tables.items()})


def headline(found: Prediction) -> str:
    """The verdict with its figures."""
    said = f"{found.verdict}: {found.why}" if found.why else str(found.verdict)
    return f"Prediction ({claim()}): {said}. {' '.join(lines(found))}"


def lines(found: Prediction) -> list[str]:
    """The figures behind the verdict, a sentence each."""
    if not found.estimates:
        return [f"{found.runs} fine-tuned runs were measured."]
    count = f"Over {found.runs} fine-tuned runs and {len(found.points)} points"
    shown = figure_texts(found, "pearson", "spearman", "norm_pearson", "left_out", "auroc")
    return [f"{count}: {'; '.join(shown)}."]


def projection_json(found: Prediction) -> dict[str, Any]:
    """Everything, for other programs; what is not defined is null."""
    saved: dict[str, Any] = plain(
        {
            "schema": 1,
            "claim": claim(),
            "success": SUCCESS,
            "verdict": str(found.verdict),
            "why": found.why,
            "runs": found.runs,
            "figures": rows(found.figures),
            "traits": rows(found.traits),
            "monitor": rows(found.monitor),
            "points": rows(found.points),
            "problems": found.problems,
        }
    )
    return saved


def prediction_blocks(found: Prediction, figures: Figures) -> list[Block]:
    """The section of a page."""
    table = found.figures
    shown = pd.DataFrame(
        {
            "points": table["points"],
            "runs": table["runs"],
            "count": table["count"],
            "figure": [FIGURES[name] for name in table["figure"]],
            "estimate": table["estimate"],
            "95 %": [
                interval_text(*ends) for ends in zip(table["low"], table["high"], strict=True)
            ],
        }
    )
    points = found.points.drop(columns=["run", "change_low", "change_high"]).assign(
        **{"change, 95 %": [interval_text(*ends) for ends in zip(
            found.points["change_low"], found.points["change_high"], strict=True)]}
    )  # fmt: skip
    traits = found.traits.rename(columns={"error_left_out": "error of the others' line (points)"})
    blocks: list[Block] = [
        *figures["projection"],
        Table(shown, "How well projections say what behaviour changes, with 95 % intervals over "
                     "runs. Leaving a trait out fits a line on the others."),
        Table(traits, "Each trait alone."),
        *figures["monitor"],
    ]  # fmt: skip
    if len(found.monitor):
        blocks.append(Table(found.monitor, "AUROC of the projection logged while training."))
    else:
        blocks.append(Paragraph(
            "No run logged its projection while training: `callbacks.persona_monitor.directions=…` "
            "does."
        ))  # fmt: skip
    return [*blocks, Table(points, "Every fine-tuned run and trait.")]
