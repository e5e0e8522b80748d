"""``analysis=pairs``: two models' metrics side by side."""

import math
import sys
from pathlib import Path

import pandas as pd

from loradrift.analysis.pairs import Comparison, compare_pairs, comparison_json
from loradrift.config import AnalyzeConfig
from loradrift.files import write_atomic, write_json
from loradrift.report.terminal import print_table

ROWS = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "roc_auc": "ROC-AUC",
    "accuracy": "accuracy at the best threshold",
    "threshold": "that threshold",
    "true_positives": "labelled 1, called 1",
    "false_negatives": "labelled 1, called 0",
    "false_positives": "labelled 0, called 1",
    "true_negatives": "labelled 0, called 0",
}
DIGITS = {"threshold": 6} | dict.fromkeys(
    ("true_positives", "false_negatives", "false_positives", "true_negatives"), 0
)
"""Decimals, where they are not 4."""


def report_pairs(settings: AnalyzeConfig) -> None:
    """Write ``pairs.json`` and ``pairs.csv``; print the metrics, and a warning if all are equal.

    Raises:
        UserError: If a file is missing or malformed, or the adapter does not fit the model.
    """
    assert settings.pairs is not None and settings.adapter is not None
    results = Path(settings.analysis.results)
    comparison = compare_pairs(Path(settings.pairs), settings.adapter, settings.base)
    write_json(results / "pairs.json", comparison_json(comparison))
    with write_atomic(results / "pairs.csv") as temporary:
        comparison.scores.to_csv(temporary, index=False)
    title = f"Cosine scores of {len(comparison.scores)} text pairs"
    print_table(metric_table(comparison), title)
    for note in notes(comparison):
        print(f"note: {note}")
    print(f"written: {results / 'pairs.json'} and {results / 'pairs.csv'}", flush=True)
    for warning in comparison.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def metric_table(comparison: Comparison) -> pd.DataFrame:
    """What the terminal shows."""
    before, after = comparison.baseline.figures, comparison.adapter.figures
    rows = []
    for name, title in ROWS.items():
        digits = DIGITS.get(name, 4)
        values = (before[name], after[name], after[name] - before[name])
        cells = [
            "-" if math.isnan(value) else f"{value:{sign}.{digits}f}"
            for value, sign in zip(values, ("", "", "+"), strict=True)
        ]
        rows.append([title, *cells])
    return pd.DataFrame(rows, columns=["", "base model", "with adapter", "difference"])


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know to believe the table."""
    said = []
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
        words = (
            "text is longer than the model takes and was"
            if cut == 1
            else ("texts are longer than the model takes and were")
        )
        said.append(f"{cut} {words} cut")
    return said
