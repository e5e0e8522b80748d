"""The base model's scores against the same model's with an adapter, on labelled text pairs."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.pairs.metrics import Metrics, is_binary, measure
from loradrift.analysis.pairs.reading import read_pairs
from loradrift.analysis.pairs.scores import prepare_texts, score
from loradrift.certify import Applied, Case, apply_adapter, diagnose_command, find_case

COUNTS = ("true_negatives", "false_positives", "false_negatives", "true_positives")


class Comparison(NamedTuple):
    """Of two models on the same pairs."""

    pairs: Path
    case: Case
    applied: Applied
    scores: pd.DataFrame
    """One row per pair: ``line`` of the file, ``label``, ``baseline``, ``adapter`` (cosines)."""

    baseline: Metrics
    adapter: Metrics
    num_truncated: int
    """Different texts that were longer than the model takes."""

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
                return [
                    *said,
                    f"{same}, but scores differ by up to {moved:.2g}: these pairs cannot tell them "
                    "apart",
                ]
            said.append(f"{same}: the adapter changed nothing: was it applied?")
        if said:
            command = diagnose_command(str(self.case.files.folder), self.case.base)
            said[-1] += f"; `{command}` says what to change"
        return said


def compare_pairs(pairs: Path, adapter: str, base: str | None) -> Comparison:
    """Score all pairs by both models.

    The model that is scored with the adapter is the one that was certified.

    Args:
        pairs: CSV or MRPC's TSV.
        adapter: Folder of a PEFT adapter, or of a run.
        base: Its base model; None is the one that the adapter names.

    Raises:
        UserError: If a file is missing or malformed, or the adapter is not applied by any loading
            path; names the check that fails.
    """
    rows = read_pairs(pairs)
    case = find_case(adapter, base)
    host = case.load()
    texts = prepare_texts(pairs, rows, host, case.base)
    labels_N = np.array([row.label for row in rows])
    before_N = score(host, texts)
    applied = apply_adapter(case, host)
    after_N = score(applied.host, texts)
    scores = pd.DataFrame(
        {
            "line": [row.line for row in rows],
            "label": labels_N,
            "baseline": before_N,
            "adapter": after_N,
        }
    )
    return Comparison(
        pairs,
        case,
        applied,
        scores,
        measure(before_N, labels_N),
        measure(after_N, labels_N),
        texts.num_truncated,
    )


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """What ``pairs.json`` holds; null is what is not defined."""
    moved = (comparison.scores["adapter"] - comparison.scores["baseline"]).abs()
    path = comparison.applied.path
    return {
        "pairs": str(comparison.pairs),
        "adapter_folder": str(comparison.case.files.folder),
        "base_model": comparison.case.base,
        "model_kind": comparison.applied.host.kind,
        "loading_path": path.name,
        "loading_code": path.code,
        "certificate": path.certificate.to_json() if path.certificate else None,
        "num_pairs": len(comparison.scores),
        "num_truncated_texts": comparison.num_truncated,
        "majority_accuracy": comparison.majority,
        "threshold_tuned_on_these_pairs": True,
        "baseline": _metrics_json(comparison.baseline),
        "adapter": _metrics_json(comparison.adapter),
        "metrics_identical": comparison.baseline.same(comparison.adapter),
        "scores_identical": bool((moved == 0).all()),
        "largest_score_change": float(moved.max()),
    }


def _metrics_json(metrics: Metrics) -> dict[str, Any]:
    plain = {k: None if math.isnan(v) else v for k, v in metrics.figures.items()}
    counts = {k: None if v is None else int(v) for k, v in plain.items() if k in COUNTS}
    return plain | counts | {"notes": list(metrics.notes)}
