"""``analysis=pairs``: two models' metrics side by side."""

import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.pairs import PairsConfig
from loradrift.analysis.pairs.comparison import Comparison
from loradrift.analysis.pairs.intervals import CONFIDENCE, INTERVALS, NUM_RESAMPLES
from loradrift.analysis.pairs.metrics import Metrics
from loradrift.files import write_atomic, write_json
from loradrift.report.terminal import print_table

ROWS = {
    "spearman": ("Spearman", 4),
    "pearson": ("Pearson", 4),
    "roc_auc": ("ROC-AUC", 4),
    "accuracy": ("accuracy (tuned)", 4),
    "threshold": ("its threshold", 6),
    "true_positives": ("true positives", 0),
    "false_negatives": ("false negatives", 0),
    "false_positives": ("false positives", 0),
    "true_negatives": ("true negatives", 0),
}
"""Figure -> its name and decimals in the terminal."""

SIGNS = ("", "", "+")
"""How the columns write their numbers: a difference has its sign."""


def report(settings: PairsConfig, comparison: Comparison) -> None:
    """Write ``pairs.json`` and ``pairs.csv``; print the metrics, and a warning if all are equal."""
    results = Path(settings.analysis.results)
    pairs = {"pairs": str(Path(settings.pairs))}
    write_json(results / "pairs.json", pairs | comparison_json(comparison))
    with write_atomic(results / "pairs.csv") as temporary:
        comparison.scores.to_csv(temporary, index=False)
    case, applied = comparison.case, comparison.applied
    assert applied.path.certificate is not None
    verdict = applied.path.certificate.verdict if applied.problem is None else "see the warning"
    model = f"{case.files.folder} on {case.base} ({applied.loaded.kind})"
    print(f"{model}, loaded {applied.path.name}: {verdict}")
    print_table(metric_table(comparison), f"Cosine scores of {len(comparison.scores)} text pairs")
    for note in notes(comparison):
        print(f"note: {note}")
    print(f"written: {results / 'pairs.json'} and {results / 'pairs.csv'}", flush=True)
    for warning in comparison.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """What ``pairs.json`` holds beside the file's name; null is what is not defined."""
    path, moved = comparison.applied.path, comparison.largest_change
    before, after = comparison.baseline.figures, comparison.adapter.figures
    bounds = {
        side: {name: list(map(_number, ends)) for name, ends in own.items()}
        for side, own in comparison.intervals._asdict().items()
    }
    return {
        "adapter_folder": str(comparison.case.files.folder),
        "base_model": comparison.case.base,
        "model_kind": comparison.applied.loaded.kind,
        "loading_path": path.name,
        "loading_code": path.code,
        "certificate": path.certificate.to_json() if path.certificate else None,
        "num_pairs": len(comparison.scores),
        "num_truncated_texts": comparison.num_truncated,
        "majority_accuracy": comparison.majority,
        "threshold_tuned_on_these_pairs": True,
        "num_pairs_that_share_a_text": comparison.num_sharing,
        "baseline": _metrics_json(comparison.baseline),
        "adapter": _metrics_json(comparison.adapter),
        "difference": {name: _number(after[name] - before[name]) for name in INTERVALS},
        "intervals": {
            "method": "percentiles of a paired bootstrap over pairs, thresholds kept",
            "confidence": CONFIDENCE,
            "num_resamples": NUM_RESAMPLES,
            **bounds,
        },
        "metrics_identical": comparison.baseline.same(comparison.adapter),
        "scores_identical": moved == 0,
        "largest_score_change": moved,
    }


def _metrics_json(metrics: Metrics) -> dict[str, Any]:
    """The figures, the counts of pairs as whole numbers, and the notes."""
    plain: dict[str, Any] = {name: _number(value) for name, value in metrics.figures.items()}
    for name, value in plain.items():
        if name.endswith(("positives", "negatives")) and value is not None:
            plain[name] = int(value)
    return plain | {"notes": list(metrics.notes)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def metric_table(comparison: Comparison) -> pd.DataFrame:
    """Make the terminal's table: each figure and, below it, its interval."""
    before, after = comparison.baseline.figures, comparison.adapter.figures
    rows = []
    for name, (title, digits) in ROWS.items():
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
