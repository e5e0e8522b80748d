"""The report of a whole study: figures, page, PDF, and the summary in the terminal."""

from pathlib import Path

import pandas as pd

from loradrift.analysis.drift.page import study_blocks
from loradrift.analysis.drift.study_figures import HYPOTHESES, STUDY
from loradrift.analysis.drift.tables import DriftTables
from loradrift.analysis.drift_report import AnalyzeDriftConfig, ReportConfig
from loradrift.analysis.drift_report.tables import Findings
from loradrift.analysis.search.page import found_edges
from loradrift.analysis.weights.figures import WEIGHTS
from loradrift.analysis.weights.page import print_weights, weight_blocks
from loradrift.report.blocks import interval_text
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.report.pdf import write_pdf
from loradrift.report.terminal import print_table

TITLE = "Representation drift: LoRA against full fine-tuning"


def write(settings: AnalyzeDriftConfig | ReportConfig, findings: Findings) -> None:
    """Write figures, page and PDF; print the summary and where they are."""
    config = settings.analysis
    study, outcomes, weights, self_checks, problems = findings
    results = Path(config.results)
    sources = (STUDY, study), (HYPOTHESES, outcomes), (WEIGHTS, weights)
    figures = Figures(results / "figures", config.figures, *sources)
    blocks = study_blocks(
        study,
        outcomes,
        figures,
        weights=weight_blocks(weights, figures),
        edges=found_edges(results, config.study),
        self_checks=self_checks,
        problems=problems,
    )
    write_html(results / "report.html", TITLE, blocks, figures.folder)
    write_pdf(results / "report.pdf", TITLE, blocks, figures.folder)
    if len(weights.summary):
        print_weights(weights)
    print_table(summary_table(study), "Drift reduction of LoRA against full fine-tuning")
    print(f"report: {results / 'report.html'} and {results / 'report.pdf'}")


def summary_table(study: DriftTables) -> pd.DataFrame:
    """What the terminal shows."""
    rows = []
    for row in study.summary.to_dict("records"):
        own = study.reduction[study.reduction["task"] == row["task"]]
        rows.append(
            {
                "task": row["task"],
                "seeds": str(row["seeds"]),
                "drift, full": f"{own['full_finetune'].mean():.4f}",
                "drift, LoRA": f"{own['lora'].mean():.4f}",
                "reduction %": f"{row['mean']:.1f}",
                "95 % interval": interval_text(row["ci_lower"], row["ci_upper"]),
                "p": f"{row['p_sign_flip']:.3g} (least possible {row['least_p']:.3g})",
            }
        )
    overall = study.overall.iloc[0]
    if overall["tasks"] > 1:
        p = f"{overall['p_sign_flip']:.3g} (least possible {overall['least_p']:.3g})"
        own = {"task": "all", "seeds": f"{overall['blocks']} blocks", "p": p}
        rows.append(own | {"reduction %": f"{overall['mean']:.1f}"})
    return pd.DataFrame(rows).fillna("-")
