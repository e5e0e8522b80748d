"""The report of a whole study: figures, page, PDF, and the summary in the terminal."""

from pathlib import Path

import pandas as pd

from loradrift.analysis.drift.figures import DRIFT, HYPOTHESES
from loradrift.analysis.drift.hypothesis_data import outcome_table
from loradrift.analysis.drift.tables import DriftTables, last_steps
from loradrift.analysis.drift_report import AnalyzeDriftConfig, ReportConfig
from loradrift.analysis.drift_report.fairness import fairness_blocks, first_words, task_words
from loradrift.analysis.drift_report.rounding import rounding_blocks
from loradrift.analysis.drift_report.tables import Findings
from loradrift.analysis.search.page import found_edges
from loradrift.analysis.self_check.tables import self_check_table
from loradrift.analysis.weights.figures import WEIGHTS
from loradrift.analysis.weights.page import left_out, print_weights, weight_blocks
from loradrift.report.blocks import Block, Heading, Paragraph, Table, interval_text
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.report.pdf import write_pdf
from loradrift.report.style import labelled
from loradrift.report.terminal import print_table


def write(settings: AnalyzeDriftConfig | ReportConfig, findings: Findings) -> None:
    """Write figures, page and PDF; print the summary and where they are."""
    config, tables, weights = settings.analysis, findings.tables, findings.weights
    arms, title = tables.arms, f"Representation drift: {tables.arms.versus}"
    results = Path(config.results)
    sources = (DRIFT, tables), (HYPOTHESES, findings.outcomes), (WEIGHTS, (arms, weights))
    figures = Figures(results / "figures", config.figures, *sources)
    with labelled(tables.runs):  # the figures are drawn as the blocks ask for them
        blocks = report_blocks(findings, figures, found_edges(results, config.study))
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
                "95 % interval": interval_text(row["ratio_lower"], row["ratio_upper"]),
                "p sign-flip": f"{row['p_sign_flip']:.3g} (least possible {row['least_p']:.3g})",
            }
        )
    return pd.DataFrame(rows).fillna("-")


SAMPLED = (
    " Dumps with more than 2,048 tokens (sample_of) are read a few rows at a time. Linear CKA, "
    "cosine, Procrustes, SVCCA and PWCCA are of all tokens; the controls, cka_rbf, knn, rsa, "
    "layer against layer and the jackknife over rows are of 2,048 tokens, drawn once."
)
"""Which numbers are of a sample of the dumped tokens, if any are."""


def report_blocks(findings: Findings, figures: Figures, edges: list[Block]) -> list[Block]:
    """The report's content, in order; ``edges`` is the flag for best values of the search."""
    tables = findings.tables
    control, treatment = (arm.label for arm in tables.arms)
    summary = tables.summary.drop(columns=["row_variance", "row_df", "mean", "std"])
    others = "; ".join(tables.others)
    kinds = ["floor", "rerun", "shuffled", "massive", "random_pair_cosine"]
    controls = tables.controls.groupby(["task", "layer"], sort=False)[kinds]
    choose = "analysis.control and analysis.treatment choose what is."
    return [
        Paragraph(
            f"Does {treatment} preserve a model's representations better than {control}? Drift is "
            "1 - CKA (linear, debiased) of a layer's activations with those of the base model, on"
            " the same probe rows for every seed and method."
        ),
        *([Paragraph(f"Not compared: {others}. {choose}")] if others else []),
        *first_words(tables),
        *figures["drift_ratio"],
        Table(
            summary.replace({"task": task_words(tables)}),
            f"Drift of {treatment} as a multiple of {control}'s, per task: geometric mean over "
            "seeds. The second interval also holds for other rows than the probe's (jackknife over "
            "rows). p is the exact two-sided sign-flip test over seeds; least p is the smallest "
            "value that so many seeds can reach, whatever the data.",
        ),
        *left_out(findings.problems),
        *edges,
        Heading("Hypotheses"),
        *figures["hypotheses"],
        Table(
            outcome_table(findings.outcomes),
            "Fixed before the data were seen. Ratios of treatment to control. The verdict is read "
            "from the 99 % interval; p is of the same test, one-sided against the margin on the "
            "verdict's side, corrected for the whole family (Holm).",
        ),
        *fairness_blocks(tables),
        Heading("Effect sizes and descriptions"),
        *_effects(tables),
        Heading("Layers"),
        *figures["layer_profiles"],
        Table(
            tables.arms.labelled(tables.layers),
            "Drift per layer at the last step (mean over seeds). p adjusted: max-T over layers "
            "with flips shared by all layers.",
        ),
        Heading("While training, and at equal performance"),
        *figures["drift_over_steps"],
        *figures["frontier"],
        _equal_performance(tables),
        Heading("Layer against layer"),
        *figures["layer_difference"],
        *weight_blocks(tables.arms, findings.weights, figures),
        *rounding_blocks(tables),
        Heading("What else the numbers could be"),
        Paragraph(
            "The floor is the base model against itself: dumped by the other method's process, "
            "read in another order and in bfloat16. Shuffled is the last dump with its rows in a "
            "wrong order: 1 if the instrument is right. Massive dimensions are those ten times "
            "the layer's median size." + (SAMPLED if "sample_of" in tables.controls else "")
        ),
        Table(controls.mean().reset_index(), "Controls per layer, mean over seeds."),
        _measures(tables),
        Heading("Runs"),
        _runs(tables),
        Heading("The instruments' self-test"),
        Paragraph(
            "Run before this report was written; had one failed, there would be no report. The "
            "reference is the published formula in float64, which shares no code with the measure."
        ),
        Table(self_check_table(findings.self_checks), "Every self-check."),
    ]


def _effects(tables: DriftTables) -> list[Table]:
    """Two tables: in standard deviations; intervals and p-values of other kinds."""
    control, treatment = (arm.label for arm in tables.arms)
    effects = tables.effects

    def between(name: str) -> list[str]:
        ends = zip(effects[f"{name}_lower"], effects[f"{name}_upper"], strict=True)
        return [interval_text(low, high) for low, high in ends]

    sizes, others = effects[["task", "seeds"]].copy(), effects[["task"]].copy()
    for name, shown in (("d_z", "d_z"), ("pooled_d", "pooled d")):
        sizes[shown], sizes[f"{shown}, Hedges"] = effects[name], effects[f"{name}_hedges"]
        sizes[f"{shown}, 95 %"] = between(f"{name}_ci")
    others["90 % (equivalence)"] = between("equivalence")
    for name, shown in {
        "p_equivalence": "p equivalence", "p_t": "p t", "p_t_bonferroni": "Bonferroni",
        "p_t_holm": "Holm", "p_t_benjamini_hochberg": "BH",
    }.items():  # fmt: skip
        others[shown] = effects[name]
    return [
        Table(
            sizes,
            f"{treatment}'s drift minus {control}'s in standard deviations: of the paired "
            "differences (d_z) and pooled; with the small-sample factor (Hedges), and with the "
            "noncentral-t interval of the true effect.",
        ),
        Table(
            others,
            "Ratio of drifts. Both are equal within 20 % if the 90 % interval lies between 0.8 and "
            "1.25 (two one-sided t tests). p t: paired t test per task, as earlier "
            "notebooks had it, and corrected over tasks.",
        ),
    ]


def _equal_performance(tables: DriftTables) -> Table:
    places = tables.equal_performance.groupby(["task", "method"], sort=False)
    means = places.agg(
        score=("score", "first"),
        reached=("step", "count"),
        before=("before_first_validation", "sum"),
        seeds=("seed", "count"),
        step=("step", "mean"),
        drift=("drift", "mean"),
    )
    shown = means.reset_index().rename(columns={"before": "before the first validation"})
    return Table(
        tables.arms.labelled(shown),
        "Drift where both methods do equally well: at the validation score that is the lower of "
        "the two methods' mean best scores, interpolated between validations and dumps. reached "
        "counts the seeds that got there; the means are over those. Of seeds that reached it "
        "before the first validation nobody knows when: they count with that validation's step and "
        "drift, which is an upper bound where drift grows.",
    )


def _measures(tables: DriftTables) -> Table:
    wide = last_steps(tables.drift).pivot_table(
        index=["task", "method"], columns="measure", values="drift", aggfunc="mean", sort=False
    )
    wide.columns.name = None
    return Table(
        tables.arms.labelled(wide.reset_index()),
        "Mean drift over layers and seeds at the last step, by measure: debiased and biased CKA, "
        "CKA without massive dimensions, CKA with the beginning-of-sequence token pooled in (where"
        " the dumps hold it), and 1 - cosine, raw and with each side's column means removed.",
    )


def _runs(tables: DriftTables) -> Table:
    wanted = ["task", "method", "seed", "steps", "evaluation/accuracy", "evaluation/f1", "commit"]
    table = tables.runs[[name for name in wanted if name in tables.runs]].copy()
    table["commit"] = [str(commit)[:10] for commit in table["commit"]]
    return Table(tables.arms.labelled(table), "All runs of this report.", digits=4)
