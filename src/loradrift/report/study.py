"""The drift report: what was found, and what the instruments show where there is nothing."""

from collections.abc import Sequence

import pandas as pd

from loradrift.analysis.evidence import outcome_table
from loradrift.analysis.hypotheses import Outcome
from loradrift.analysis.study import Study, last_steps
from loradrift.report.blocks import Block, Figure, Heading, Paragraph, Table
from loradrift.similarity import Proof


def study_blocks(
    study: Study,
    outcomes: Sequence[Outcome],
    figures: Sequence[Figure],
    *,
    weights: Sequence[Block],
    proofs: Sequence[Proof],
    problems: Sequence[str],
) -> list[Block]:
    """The report's content, in order; ``weights`` is the section about them."""
    reduction, *others = figures
    return [
        Paragraph(
            "Does LoRA preserve a model's representations better than full fine-tuning? Drift is "
            "1 - CKA (linear, debiased) of a layer's activations with those of the base model, on"
            " the same probe rows for every seed and method."
        ),
        reduction,
        _summary(study),
        *left_out(problems),
        Heading("Hypotheses"),
        *others[4:],
        Table(
            outcome_table(outcomes),
            "Fixed before the data were seen. p is one-sided against the margin; Holm and "
            "Bonferroni correct for the whole family.",
        ),
        Heading("Layers"),
        *others[:1],
        _layers(study),
        Heading("While training, and at equal performance"),
        *others[1:3],
        _equal_performance(study),
        Heading("Layer against layer"),
        *others[3:4],
        *weights,
        Heading("What else the numbers could be"),
        Paragraph(
            "The floor is the base model against itself: dumped by the other method's process, "
            "read in another order and in bfloat16. Shuffled is the last dump with its rows in a "
            "wrong order: 1 if the instrument is right. Massive dimensions are those ten times "
            "the layer's median size."
        ),
        _controls(study),
        _measures(study),
        Heading("Runs"),
        _runs(study),
        Heading("The instruments' self-test"),
        Paragraph(
            "Run before this report was written; had one failed, there would be no report. The "
            "reference is the published formula in float64, which shares no code with the "
            "measure."
        ),
        Table(proof_table(proofs), "Every proof."),
    ]


def _summary(study: Study) -> Table:
    return Table(
        study.summary.rename(columns={"mean": "reduction %"}),
        "Drift reduction in percent per task. The second interval also holds for other rows than "
        "the probe's (jackknife over rows). p is the exact two-sided sign-flip test over seeds; "
        "least p is the smallest value that so many seeds can reach, whatever the data.",
    )


def left_out(problems: Sequence[str]) -> list[Block]:
    """A table of what is not in the report; nothing if nothing is missing."""
    if not problems:
        return []
    frame = pd.DataFrame({"not analysed": list(problems)})
    return [Table(frame, "What was left out of this report, and why.")]


def _layers(study: Study) -> Table:
    return Table(
        study.layers,
        "Drift per layer at the last step (mean over seeds). p adjusted: max-T over layers with "
        "flips shared by all layers.",
    )


def _equal_performance(study: Study) -> Table:
    table = study.equal_performance
    figures = table.groupby(["task", "method"], sort=False).agg(
        score=("score", "first"),
        reached=("step", "count"),
        seeds=("seed", "count"),
        step=("step", "mean"),
        drift=("drift", "mean"),
    )
    return Table(
        figures.reset_index(),
        "Drift where both methods do equally well: at the validation score that is the lower of "
        "the two methods' mean best scores, interpolated between validations and dumps. reached "
        "counts the seeds that got there; the means are over those.",
    )


def _controls(study: Study) -> Table:
    columns = ["floor", "rerun", "shuffled", "massive", "random_pair_cosine"]
    means = study.controls.groupby(["task", "layer"], sort=False)[columns].mean().reset_index()
    return Table(means, "Controls per layer, mean over seeds.")


def _measures(study: Study) -> Table:
    wide = last_steps(study.drift).pivot_table(
        index=["task", "method"], columns="measure", values="drift", aggfunc="mean", sort=False
    )
    wide.columns.name = None
    return Table(
        wide.reset_index(),
        "Mean drift over layers and seeds at the last step, by measure: debiased and biased CKA, "
        "CKA without massive dimensions, CKA with the beginning-of-sequence token pooled in (where"
        " the dumps hold it), and 1 - cosine.",
    )


def _runs(study: Study) -> Table:
    wanted = ["task", "method", "seed", "steps", "evaluation/accuracy", "evaluation/f1", "commit"]
    table = study.runs[[name for name in wanted if name in study.runs]].copy()
    table["commit"] = [str(commit)[:10] for commit in table["commit"]]
    return Table(table, "All runs of this report.", digits=4)


def proof_table(proofs: Sequence[Proof]) -> pd.DataFrame:
    """One row per proof."""
    return pd.DataFrame(
        [
            (p.measure, p.claim, f"{p.expected:.6g}", f"{p.measured:.6g}", p.tolerance, p.holds)
            for p in proofs
        ],
        columns=["measure", "claim", "expected", "measured", "tolerance", "holds"],
    )
