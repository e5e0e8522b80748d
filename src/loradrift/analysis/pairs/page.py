"""``analysis=pairs``: two models' metrics side by side."""

import math
import sys
from pathlib import Path

import pandas as pd

from loradrift.analysis.pairs import PairsConfig
from loradrift.analysis.pairs.comparison import Comparison, comparison_json
from loradrift.analysis.pairs.intervals import CONFIDENCE, NUM_RESAMPLES
from loradrift.files import write_atomic, write_json
from loradrift.report.terminal import print_table

ROWS = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "roc_auc": "ROC-AUC",
    "accuracy": "accuracy (tuned)",
    "threshold": "its threshold",
    "true_positives": "true positives",
    "false_negatives": "false negatives",
    "false_positives": "false positives",
    "true_negatives": "true negatives",
}
DIGITS = {"threshold": 6} | dict.fromkeys(
    ("true_positives", "false_negatives", "false_positives", "true_negatives"), 0
)
"""Decimals, where they are not 4."""

SIGNS = ("", "", "+")
"""How the columns write their numbers: a difference has its sign."""


def report(settings: PairsConfig, comparison: Comparison) -> None:
    """Write ``pairs.json`` and ``pairs.csv``; print the metrics, and a warning if all are equal."""
    results = Path(settings.analysis.results)
    write_json(results / "pairs.json", comparison_json(comparison))
    with write_atomic(results / "pairs.csv") as temporary:
        comparison.scores.to_csv(temporary, index=False)
    title = f"Cosine scores of {len(comparison.scores)} text pairs"
    case, applied = comparison.case, comparison.applied
    assert applied.path.certificate is not None
    verdict = applied.path.certificate.verdict if applied.problem is None else "see the warning"
    print(
        f"{case.files.folder} on {case.base} ({applied.loaded.kind}), loaded {applied.path.name}: "
        f"{verdict}"
    )
    print_table(metric_table(comparison), title)
    for note in notes(comparison):
        print(f"note: {note}")
    print(f"written: {results / 'pairs.json'} and {results / 'pairs.csv'}", flush=True)
    for warning in comparison.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def metric_table(comparison: Comparison) -> pd.DataFrame:
    """Make the terminal's table: each figure and, below it, its interval."""
    before, after = comparison.baseline.figures, comparison.adapter.figures
    rows = []
    for name, title in ROWS.items():
        digits = DIGITS.get(name, 4)
        values = zip((before[name], after[name], after[name] - before[name]), SIGNS, strict=True)
        cells = ["-" if math.isnan(each) else f"{each:{sign}.{digits}f}" for each, sign in values]
        rows.append([title, *cells])
        bounds = [each[name] for each in comparison.intervals if name in each]
        if bounds and not all(math.isnan(each.low) for each in bounds):
            below = [
                "-" if math.isnan(low) else f"{low:{sign}.4f} to {high:{sign}.4f}"
                for (low, high), sign in zip(bounds, SIGNS, strict=True)
            ]
            rows.append([f"  {100 * CONFIDENCE:.0f} % interval", *below])
    return pd.DataFrame(rows, columns=["", "base model", "with adapter", "difference"])


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know to believe the table."""
    said = [
        f"intervals: percentiles of {NUM_RESAMPLES} bootstrap samples of the pairs, the same for "
        "both models; each threshold is kept"
    ]
    if sharing := comparison.num_sharing:
        said.append(
            f"{sharing} of {len(comparison.scores)} pairs have a text that another pair has too: "
            "intervals take pairs as independent, and are too narrow then"
        )
    if comparison.majority is not None:
        said.append(
            "each threshold was chosen on these very pairs, so accuracies are optimistic; always "
            f"the more frequent label has {comparison.majority:.4f}"
        )
    before, after = comparison.baseline.notes, comparison.adapter.notes
    said += [note for note in before if note in after]
    said += [f"base model: {note}" for note in before if note not in after]
    said += [f"with adapter: {note}" for note in after if note not in before]
    if cut := comparison.num_truncated:
        are, were = ("text is", "was") if cut == 1 else ("texts are", "were")
        said.append(f"{cut} {are} longer than the model takes and {were} cut")
    return said
