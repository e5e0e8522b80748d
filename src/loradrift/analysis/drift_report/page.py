"""The report of a whole study: figures, page, PDF, and the summary in the terminal."""

from pathlib import Path

import pandas as pd

from loradrift.analysis.drift.figures import DRIFT, HYPOTHESES
from loradrift.analysis.drift.page import drift_blocks
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
from loradrift.report.style import labelled
from loradrift.report.terminal import print_table


def write(settings: AnalyzeDriftConfig | ReportConfig, findings: Findings) -> None:
    """Write figures, page and PDF; print the summary and where they are."""
    config = settings.analysis
    tables, outcomes, weights, self_checks, problems = findings
    arms, title = tables.arms, f"Representation drift: {tables.arms.versus}"
    results = Path(config.results)
    sources = (DRIFT, tables), (HYPOTHESES, outcomes), (WEIGHTS, (arms, weights))
    figures = Figures(results / "figures", config.figures, *sources)
    with labelled(tables.runs):  # the figures are drawn as the blocks ask for them
        blocks = drift_blocks(
            tables,
            outcomes,
            figures,
            weights=weight_blocks(arms, weights, figures),
            edges=found_edges(results, config.study),
            self_checks=self_checks,
            problems=problems,
        )
    write_html(results / "report.html", title, blocks, figures.folder)
    write_pdf(results / "report.pdf", title, blocks, figures.folder)
    if len(weights.summary):
        print_weights(arms, weights)
    print_table(summary_table(tables), f"Drift reduction of {arms.versus}")
    print(f"report: {results / 'report.html'} and {results / 'report.pdf'}")


def summary_table(tables: DriftTables) -> pd.DataFrame:
    """What the terminal shows."""
    rows = []
    for row in tables.summary.to_dict("records"):
        own = tables.reduction[tables.reduction["task"] == row["task"]]
        rows.append(
            {
                "task": row["task"],
                "seeds": str(row["seeds"]),
                **{f"drift, {arm.label}": f"{own[arm.name].mean():.4f}" for arm in tables.arms},
                "reduction %": f"{row['mean']:.1f}",
                "95 % interval": interval_text(row["ci_lower"], row["ci_upper"]),
                "p": f"{row['p_sign_flip']:.3g} (least possible {row['least_p']:.3g})",
            }
        )
    overall = tables.overall.iloc[0]
    if overall["tasks"] > 1:
        p = f"{overall['p_sign_flip']:.3g} (least possible {overall['least_p']:.3g})"
        own = {"task": "all", "seeds": f"{overall['blocks']} blocks", "p": p}
        rows.append(own | {"reduction %": f"{overall['mean']:.1f}"})
    return pd.DataFrame(rows).fillna("-")
