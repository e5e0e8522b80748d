"""The tables of the report, of tables with labels for tasks."""

import pandas as pd

from loradrift.analysis.drift.tables import DriftTables, last_steps
from loradrift.analysis.drift_report.fairness import task_words
from loradrift.report.blocks import Block, Paragraph, Table, interval_text, p_text

SAMPLED = (
    " Dumps with more than 2,048 tokens (sample_of) are read a few rows at a time. Linear CKA, "
    "cosine, Procrustes, SVCCA and PWCCA are of all tokens; the controls, cka_rbf, knn, rsa, "
    "layer against layer and the jackknife over rows are of 2,048 tokens, drawn once."
)
"""Which numbers are of a sample of the dumped tokens, if any are."""


def drift_per_task(tables: DriftTables) -> Table:
    """The ratio of each task with both intervals."""
    control, treatment = (arm.label for arm in tables.arms)
    summary = tables.summary
    shown = {
        "task": summary["task"].replace(task_words(tables)),
        "seeds": summary["seeds"],
        "ratio": summary["ratio"],
        "95 % interval": _between(summary, "ratio_lower", "ratio_upper"),
        "95 % interval, other rows too": _between(
            summary, "ratio_lower_any_text", "ratio_upper_any_text"
        ),
        "p": map(p_text, summary["p_sign_flip"]),
        "least p": map(p_text, summary["least_p"]),
    }
    return Table(
        pd.DataFrame(shown),
        f"Drift of {treatment} as a multiple of {control}'s, per task: geometric mean over "
        "seeds. The second interval also holds for other rows than the probe's (jackknife over "
        "rows). p is the exact two-sided sign-flip test over seeds; least p is the smallest "
        "value that so many seeds can reach, whatever the data.",
    )


def _between(table: pd.DataFrame, lower: str, upper: str) -> list[str]:
    return [interval_text(*ends) for ends in zip(table[lower], table[upper], strict=True)]


def drift_per_layer(tables: DriftTables) -> Table:
    """Both arms' drift in each layer."""
    layers = tables.layers
    shown = layers.assign(
        p_adjusted=[*map(p_text, layers["p_adjusted"])], least_p=[*map(p_text, layers["least_p"])]
    ).rename(columns={"p_adjusted": "p, adjusted"})
    return Table(
        tables.arms.labelled(shown),
        "Drift per layer where runs are compared (mean over seeds). p is adjusted: max-T over "
        "layers with flips shared by all layers.",
    )


def controls(tables: DriftTables) -> list[Block]:
    """What the controls are, and their values."""
    kinds = {
        "floor": "floor", "rerun": "rerun", "shuffled": "shuffled", "massive": "massive dimensions",
        "random_pair_cosine": "cosine of random pairs",
    }  # fmt: skip
    means = tables.controls.groupby(["task", "layer"], sort=False)[list(kinds)].mean()
    return [
        Paragraph(
            "The floor is the base model against itself: dumped by the other method's process, "
            "read in another order and in bfloat16. Shuffled is the last dump with its rows in a "
            "wrong order: 1 if the instrument is right. Massive dimensions are those ten times "
            "the layer's median size." + (SAMPLED if "sample_of" in tables.controls else "")
        ),
        Table(means.reset_index().rename(columns=kinds), "Controls per layer, mean over seeds."),
    ]


def effect_sizes(tables: DriftTables) -> list[Table]:
    """Two tables: in standard deviations; intervals and p-values of other kinds."""
    control, treatment = (arm.label for arm in tables.arms)
    effects = tables.effects
    sizes, others = effects[["task", "seeds"]].copy(), effects[["task"]].copy()
    for name, shown in (("d_z", "paired d"), ("pooled_d", "pooled d")):
        sizes[shown], sizes[f"{shown}, Hedges"] = effects[name], effects[f"{name}_hedges"]
        sizes[f"{shown}, 95 % interval"] = _between(effects, f"{name}_ci_lower", f"{name}_ci_upper")
    others["90 % interval"] = _between(effects, "equivalence_lower", "equivalence_upper")
    for name, shown in {
        "p_equivalence": "p, equivalence", "p_t": "p, paired t", "p_t_bonferroni": "p, Bonferroni",
        "p_t_holm": "p, Holm", "p_t_benjamini_hochberg": "p, Benjamini-Hochberg",
    }.items():  # fmt: skip
        others[shown] = [*map(p_text, effects[name])]
    return [
        Table(
            sizes,
            f"{treatment}'s drift minus {control}'s in standard deviations: of the paired "
            "differences (paired d, also d_z) and pooled; with the small-sample factor (Hedges), "
            "and with the noncentral-t interval of the true effect.",
        ),
        Table(
            others,
            "Ratio of drifts. Both are equal within 20 % if the 90 % interval lies between 0.8 and "
            "1.25 (two one-sided t tests). The paired t test per task is as earlier "
            "notebooks had it, and corrected over tasks.",
        ),
    ]


def at_equal_performance(tables: DriftTables) -> Table:
    """Both arms' drift where both do equally well."""
    places = tables.equal_performance.groupby(["task", "method"], sort=False)
    means = places.agg(
        score=("score", "first"),
        reached=("step", "count"),
        before=("before_first_validation", "sum"),
        seeds=("seed", "count"),
        step=("step", "mean"),
        drift=("drift", "mean"),
    )
    shown = means.reset_index().rename(
        columns={"reached": "seeds that reached it", "before": "before the first validation"}
    )
    return Table(
        tables.arms.labelled(shown),
        "Drift where both methods do equally well: at the validation score that is the lower of "
        "the two methods' mean best scores, interpolated between validations and dumps. Means "
        "are over the seeds that reached it. Of seeds that reached it "
        "before the first validation nobody knows when: they count with that validation's step and "
        "drift, which is an upper bound where drift grows.",
    )


def by_measure(tables: DriftTables) -> Table:
    """Both arms' drift by every measure."""
    wide = last_steps(tables.drift).pivot_table(
        index=["task", "method"], columns="measure", values="drift", aggfunc="mean", sort=False
    )
    wide.columns.name = None
    return Table(
        tables.arms.labelled(wide.rename(columns=measure_label).reset_index()),
        "Mean drift over layers and seeds where runs are compared, by measure: debiased and biased "
        "CKA, CKA without massive dimensions, CKA with the beginning-of-sequence token pooled in "
        "(where the dumps hold it), and 1 - cosine, raw and with each side's column means removed.",
    )


def measure_label(name: str) -> str:
    """How a table heads a measure."""
    words = name.replace("_", " ")
    return (
        words.upper() if name in ("cka", "rsa", "svcca", "pwcca") else words.replace("cka", "CKA")
    )


def all_runs(tables: DriftTables) -> Table:
    """One row for each run, with its scores."""
    runs = tables.runs
    scores = [name for name in ("accuracy", "f1", "exact") if f"evaluation/{name}" in runs]
    table = runs[["task", "method", "seed", "steps", *(f"evaluation/{each}" for each in scores)]]
    table = table.rename(columns={f"evaluation/{each}": each for each in scores})
    table = table.assign(commit=[str(commit)[:10] if commit else "-" for commit in runs["commit"]])
    return Table(
        tables.arms.labelled(table), "All runs of this report, scored on evaluation rows.", digits=4
    )
