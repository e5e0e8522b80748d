"""The base model's scores against the same model's with an adapter, on labelled text pairs."""

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.pairs import PairsConfig
from loradrift.analysis.pairs.intervals import (
    CONFIDENCE,
    INTERVALS,
    NUM_RESAMPLES,
    Intervals,
    bootstrap,
)
from loradrift.analysis.pairs.metrics import Metrics, is_binary, measure
from loradrift.analysis.pairs.reading import read_pairs
from loradrift.analysis.pairs.scores import prepare_texts, score
from loradrift.diagnose import AdapterCase, Applied, apply_adapter, diagnose_command, find_case

COUNTS = ("true_negatives", "false_positives", "false_negatives", "true_positives")


class Comparison(NamedTuple):
    """The results of two models on the same pairs."""

    pairs: Path
    case: AdapterCase
    applied: Applied
    scores: pd.DataFrame
    """One row per pair: ``line`` of the file, ``label``, ``baseline``, ``adapter`` (cosines)."""

    baseline: Metrics
    adapter: Metrics
    intervals: Intervals
    num_truncated: int
    """Different texts that were longer than the model takes."""

    num_sharing: int
    """Pairs with a text that another pair has too: they are not independent."""

    @property
    def majority(self) -> float | None:
        """Accuracy of always the more frequent label; None unless labels are 0 and 1."""
        labels = self.scores["label"].to_numpy()
        return max(labels.mean(), 1 - labels.mean()) if is_binary(labels) else None

    @property
    def warnings(self) -> list[str]:
        """What speaks against the adapter, one line each: its certificate, and equal metrics."""
        said = []
        if self.applied.problem is not None:
            said.append(
                f"the adapter is loaded, but its certificate does not hold: {self.applied.problem}"
            )
        moved = (self.scores["adapter"] - self.scores["baseline"]).abs().max()
        if self.baseline.same(self.adapter):
            same = "the metrics of both models are identical to the last digit"
            if moved > 0:
                apart = f"scores differ by up to {moved:.2g}: these pairs cannot tell them apart"
                return [*said, f"{same}, but {apart}"]
            said.append(f"{same}: the adapter changed nothing")
        if said:
            command = diagnose_command(str(self.case.files.folder), self.case.base)
            said[-1] += f"; `{command}` says what to change"
        return said


def compare(settings: PairsConfig) -> Comparison:
    """Score the pairs that the settings name without and with the adapter."""
    rng = np.random.default_rng(settings.analysis.seed)
    return compare_pairs(Path(settings.pairs), settings.adapter, settings.base, rng)


def compare_pairs(
    pairs: Path, adapter: str, base: str | None, rng: np.random.Generator
) -> Comparison:
    """Score all pairs by both models; the one with the adapter is the one that was certified.

    Args:
        pairs: A CSV file or MRPC's TSV file.
        adapter: Folder of a PEFT adapter, or of a run.
        base: Its base model; None is the one that the adapter names.
        rng: Draws the samples of the intervals.

    Raises:
        UserError: If a file is missing or malformed, or the adapter is not applied by any loading
            path; names the check that fails.
    """
    rows = read_pairs(pairs)
    case = find_case(adapter, base)
    loaded = case.load()
    texts = prepare_texts(pairs, rows, loaded, case.base)
    labels_N = np.array([row.label for row in rows])
    before_N = score(loaded, texts)
    applied = apply_adapter(case, loaded)
    after_N = score(applied.loaded, texts)
    scores = pd.DataFrame(
        {
            "line": [row.line for row in rows],
            "label": labels_N,
            "baseline": before_N,
            "adapter": after_N,
        }
    )
    before, after = measure(before_N, labels_N), measure(after_N, labels_N)
    uses = Counter(text for row in rows for text in {row.text1, row.text2})
    return Comparison(
        pairs,
        case,
        applied,
        scores,
        before,
        after,
        bootstrap((before_N, before), (after_N, after), labels_N, rng),
        texts.num_truncated,
        sum(max(uses[row.text1], uses[row.text2]) > 1 for row in rows),
    )


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """What ``pairs.json`` holds; null is what is not defined."""
    moved = (comparison.scores["adapter"] - comparison.scores["baseline"]).abs()
    path, intervals = comparison.applied.path, comparison.intervals
    before, after = comparison.baseline.figures, comparison.adapter.figures
    return {
        "pairs": str(comparison.pairs),
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
        }
        | {
            side: {name: list(map(_number, bounds)) for name, bounds in own.items()}
            for side, own in intervals._asdict().items()
        },
        "metrics_identical": comparison.baseline.same(comparison.adapter),
        "scores_identical": bool((moved == 0).all()),
        "largest_score_change": float(moved.max()),
    }


def _metrics_json(metrics: Metrics) -> dict[str, Any]:
    plain = {name: _number(value) for name, value in metrics.figures.items()}
    counts = {k: None if v is None else int(v) for k, v in plain.items() if k in COUNTS}
    return plain | counts | {"notes": list(metrics.notes)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
