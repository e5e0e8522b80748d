"""The report of a whole study: figures, page, PDF, and the summary in the terminal."""

from pathlib import Path

import pandas as pd

from loradrift.analysis.drift.figures import DRIFT, HYPOTHESES
from loradrift.analysis.drift.hypothesis_data import outcome_table
from loradrift.analysis.drift.tables import DriftTables
from loradrift.analysis.drift_report import AnalyzeDriftConfig, ReportConfig
from loradrift.analysis.drift_report.answer import cards, first_screen
from loradrift.analysis.drift_report.fairness import fairness_blocks, first_words, task_words
from loradrift.analysis.drift_report.rounding import rounding_blocks
from loradrift.analysis.drift_report.sections import (
    all_runs,
    at_equal_performance,
    by_measure,
    controls,
    drift_per_layer,
    drift_per_task,
    effect_sizes,
)
from loradrift.analysis.drift_report.tables import Findings, print_verdicts
from loradrift.analysis.search.page import found_edges
from loradrift.analysis.self_check.tables import self_check_table
from loradrift.analysis.weights.figures import WEIGHTS
from loradrift.analysis.weights.page import left_out, print_weights, weight_blocks
from loradrift.report.blocks import Block, Heading, Paragraph, Table, interval_text, p_text
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.report.pdf import write_pdf
from loradrift.report.terminal import print_table


def write(settings: AnalyzeDriftConfig | ReportConfig, findings: Findings) -> None:
    """Write figures, page and PDF; print the answer, the summary and where they are."""
    config, findings = settings.analysis, findings.for_readers()
    tables, weights, arms = findings.tables, findings.weights, findings.tables.arms
    print_verdicts(tables, findings.outcomes)
    results = Path(config.results)
    sources = (DRIFT, tables), (HYPOTHESES, findings.outcomes), (WEIGHTS, (arms, weights))
    figures = Figures(results / "figures", config.figures, *sources)
    # The figures are drawn as the blocks ask for them.
    blocks = report_blocks(findings, figures, found_edges(results, config.study))
    title = f"Representation drift: {arms.versus}"
    write_html(results / "report.html", title, blocks, figures.folder)
    write_pdf(results / "report.pdf", title, blocks, figures.folder)
    if len(weights.summary):
        print_weights(arms, weights)
    print_table(summary_table(tables), f"Drift of {arms.versus}")
    print(f"report: {results / 'report.html'} and {results / 'report.pdf'}")


def summary_table(tables: DriftTables) -> pd.DataFrame:
    """What the terminal shows."""
    rows = []
    for row in tables.summary.to_dict("records"):
        own = tables.reduction[tables.reduction["task"] == row["task"]]
        rows.append(
            {
                "task": task_words(tables).get(row["task"], row["task"]),
                "seeds": str(row["seeds"]),
                **{f"drift, {arm.label}": f"{own[arm.name].mean():.4f}" for arm in tables.arms},
                "ratio": f"{row['ratio']:.3g}",
                "95 % interval": interval_text(
                    row["ratio_lower_any_text"], row["ratio_upper_any_text"]
                ),
                "p, sign-flip": f"{p_text(row['p_sign_flip'])} (least possible "
                f"{p_text(row['least_p'])})",
            }
        )
    return pd.DataFrame(rows).fillna("-")


def report_blocks(findings: Findings, figures: Figures, edges: list[Block]) -> list[Block]:
    """The report's content, in order; ``edges`` is the flag for best values of the search."""
    tables, outcomes = findings.tables, findings.outcomes
    return [
        *first_screen(tables, outcomes),
        *figures["drift_ratio"],
        cards(outcomes),
        *_conditions(findings),
        *edges,
        Heading("Drift per task"),
        Paragraph(
            "Drift is 1 - CKA (linear, debiased) of a layer's activations with those of the base "
            "model, on the same probe rows for every seed and method."
        ),
        drift_per_task(tables),
        Heading("Hypotheses"),
        *figures["hypotheses"],
        Table(
            outcome_table(outcomes),
            "Fixed before the data were seen. Ratios of treatment to control. The verdict is read "
            "from the 99 % interval; p is of the same test, one-sided against the margin on the "
            "estimate's side; a verdict takes 0.005, which meets Holm's correction for three. H3 "
            "is the serving benchmark's, read from the 95 % interval over its rounds.",
        ),
        *rounding_blocks(tables),
        *fairness_blocks(tables),
        Heading("Effect sizes and descriptions"),
        *effect_sizes(tables),
        Heading("Layers"),
        *figures["layer_profiles"],
        drift_per_layer(tables),
        Heading("While training, and at equal performance"),
        *figures["drift_over_steps"],
        *figures["frontier"],
        at_equal_performance(tables),
        Heading("Layer against layer"),
        *figures["layer_difference"],
        *weight_blocks(tables.arms, findings.weights, figures),
        Heading("What else the numbers could be"),
        *controls(tables),
        by_measure(tables),
        Heading("Runs"),
        all_runs(tables),
        Heading("The instruments' self-test"),
        Paragraph(
            "Run before this report was written; had one failed, there would be no report. The "
            "reference is the published formula in float64, which shares no code with the measure."
        ),
        Table(self_check_table(findings.self_checks), "Every self-check."),
    ]


def _conditions(findings: Findings) -> list[Block]:
    """What the answer leaves out, and where training was unequal."""
    others = "; ".join(findings.tables.others)
    choose = "analysis.control and analysis.treatment choose what is."
    return [
        *first_words(findings.tables),
        *([Paragraph(f"Not compared: {others}. {choose}")] if others else []),
        *left_out(findings.problems),
    ]
