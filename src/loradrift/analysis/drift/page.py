"""The drift report: what was found, and what the instruments show where there is nothing."""

from collections.abc import Sequence

import pandas as pd

from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.hypothesis_data import outcome_table
from loradrift.analysis.drift.tables import DriftTables, last_steps
from loradrift.analysis.self_check.tables import self_check_table
from loradrift.report.blocks import Block, Heading, Paragraph, Table, interval_text
from loradrift.report.figures import Figures
from loradrift.similarity import SelfCheck


def drift_blocks(
    tables: DriftTables,
    outcomes: Sequence[Outcome],
    figures: Figures,
    *,
    weights: Sequence[Block],
    edges: Sequence[Block],
    self_checks: Sequence[SelfCheck],
    problems: Sequence[str],
) -> list[Block]:
    """The report's content, in order.

    ``weights`` is the section about them, ``edges`` the flag for best values of the search.
    """
    control, treatment = (arm.label for arm in tables.arms)
    return [
        Paragraph(
            f"Does {treatment} preserve a model's representations better than {control}? Drift is "
            "1 - CKA (linear, debiased) of a layer's activations with those of the base model, on"
            " the same probe rows for every seed and method."
        ),
        *_not_compared(tables),
        *figures["drift_reduction"],
        _summary(tables),
        _overall(tables),
        *left_out(problems),
        *edges,
        Heading("Hypotheses"),
        *figures["hypotheses"],
        Table(
            outcome_table(outcomes),
            "Fixed before the data were seen. p is one-sided against the margin; Holm and "
            "Bonferroni correct for the whole family, BH (Benjamini-Hochberg) for the share of "
            "false ones among those found.",
        ),
        Heading("Effect sizes and descriptions"),
        *_effects(tables),
        Heading("Layers"),
        *figures["layer_profiles"],
        _layers(tables),
        Heading("While training, and at equal performance"),
        *figures["drift_over_steps"],
        *figures["frontier"],
        _equal_performance(tables),
        Heading("Layer against layer"),
        *figures["layer_difference"],
        *weights,
        Heading("What else the numbers could be"),
        Paragraph(
            "The floor is the base model against itself: dumped by the other method's process, "
            "read in another order and in bfloat16. Shuffled is the last dump with its rows in a "
            "wrong order: 1 if the instrument is right. Massive dimensions are those ten times "
            "the layer's median size." + _sampled(tables)
        ),
        _controls(tables),
        _measures(tables),
        Heading("Runs"),
        _runs(tables),
        Heading("The instruments' self-test"),
        Paragraph(
            "Run before this report was written; had one failed, there would be no report. The "
            "reference is the published formula in float64, which shares no code with the "
            "measure."
        ),
        Table(self_check_table(self_checks), "Every self-check."),
    ]


def _not_compared(tables: DriftTables) -> list[Block]:
    """One line about the arms that this report leaves out."""
    if not tables.others:
        return []
    return [
        Paragraph(
            f"Not compared: {'; '.join(tables.others)}. analysis.control and analysis.treatment "
            "choose what is."
        )
    ]


def _sampled(tables: DriftTables) -> str:
    """Which numbers are of a sample of the dumped tokens, if any are."""
    if "sample_of" not in tables.controls:
        return ""
    return (
        " Dumps with more than 2,048 tokens (sample_of) are read a few rows at a time. Linear CKA, "
        "cosine, Procrustes, SVCCA and PWCCA are of all tokens; the controls, cka_rbf, knn, rsa, "
        "layer against layer and the jackknife over rows are of 2,048 tokens, drawn once."
    )


def _summary(tables: DriftTables) -> Table:
    return Table(
        tables.summary.drop(columns=["row_variance", "row_df"]).rename(
            columns={"mean": "reduction %"}
        ),
        "Drift reduction in percent per task. The second interval also holds for other rows than "
        "the probe's (jackknife over rows). p is the exact two-sided sign-flip test over seeds; "
        "least p is the smallest value that so many seeds can reach, whatever the data.",
    )


def _overall(tables: DriftTables) -> Paragraph:
    row = tables.overall.iloc[0]
    how = "exact" if row["exact"] else "drawn flips"
    return Paragraph(
        f"Over all {row['blocks']} seed x task blocks the mean reduction is {row['mean']:.1f} %; "
        f"two-sided sign-flip p = {row['p_sign_flip']:.3g} ({how}; {row['least_p']:.3g} is the "
        "least that so many blocks can reach)."
    )


def _effects(tables: DriftTables) -> list[Table]:
    """Two tables: in standard deviations; intervals and p-values of other kinds."""
    control, treatment = (arm.label for arm in tables.arms)
    effects = tables.effects
    sizes, others = effects[["task", "seeds"]].copy(), effects[["task"]].copy()
    for name, shown in (("d_z", "d_z"), ("pooled_d", "pooled d")):
        sizes[shown], sizes[f"{shown}, Hedges"] = effects[name], effects[f"{name}_hedges"]
        sizes[f"{shown}, 95 %"] = _between(effects, f"{name}_ci_lower", f"{name}_ci_upper")
    others["90 % (equivalence)"] = _between(effects, "equivalence_lower", "equivalence_upper")
    others["p equivalence"] = effects["p_equivalence"]
    for name, shown in {
        "p_t": "p t",
        "p_t_bonferroni": "Bonferroni",
        "p_t_holm": "Holm",
        "p_t_benjamini_hochberg": "BH",
    }.items():
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
            "Drift reduction in percent. Both are equal within 20 % if the 90 % interval "
            "lies within it (two one-sided t tests). p t: paired t test per task, as earlier "
            "notebooks had it, and corrected over tasks.",
        ),
    ]


def _between(table: pd.DataFrame, low: str, high: str) -> list[str]:
    """Two columns as one: from ... to."""
    return [interval_text(*ends) for ends in zip(table[low], table[high], strict=True)]


def left_out(problems: Sequence[str]) -> list[Block]:
    """A table of what is not in the report; nothing if nothing is missing."""
    if not problems:
        return []
    frame = pd.DataFrame({"not analysed": list(problems)})
    return [Table(frame, "What was left out of this report, and why.")]


def _layers(tables: DriftTables) -> Table:
    return Table(
        tables.arms.labelled(tables.layers),
        "Drift per layer at the last step (mean over seeds). p adjusted: max-T over layers with "
        "flips shared by all layers.",
    )


def _equal_performance(tables: DriftTables) -> Table:
    table = tables.equal_performance
    figures = table.groupby(["task", "method"], sort=False).agg(
        score=("score", "first"),
        reached=("step", "count"),
        before=("before_first_validation", "sum"),
        seeds=("seed", "count"),
        step=("step", "mean"),
        drift=("drift", "mean"),
    )
    return Table(
        tables.arms.labelled(
            figures.reset_index().rename(columns={"before": "before the first validation"})
        ),
        "Drift where both methods do equally well: at the validation score that is the lower of "
        "the two methods' mean best scores, interpolated between validations and dumps. reached "
        "counts the seeds that got there; the means are over those. Of seeds that reached it "
        "before the first validation nobody knows when: they count with that validation's step and "
        "drift, which is an upper bound where drift grows.",
    )


def _controls(tables: DriftTables) -> Table:
    columns = ["floor", "rerun", "shuffled", "massive", "random_pair_cosine"]
    means = tables.controls.groupby(["task", "layer"], sort=False)[columns].mean().reset_index()
    return Table(means, "Controls per layer, mean over seeds.")


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
