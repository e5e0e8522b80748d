"""The base model's scores against the same model's with an adapter, on labelled text pairs."""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from loradrift.analysis.pairs.adapter import Source, find_adapter, load_adapter, load_base
from loradrift.analysis.pairs.metrics import Metrics, is_binary, measure
from loradrift.analysis.pairs.reading import read_pairs
from loradrift.analysis.pairs.scores import score, tokenize_pairs

COUNTS = ("true_negatives", "false_positives", "false_negatives", "true_positives")


class Comparison(NamedTuple):
    """Of two models on the same pairs."""

    pairs: Path
    source: Source
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
    def warning(self) -> str | None:
        """One line if the adapter shows nowhere; None if it does."""
        if not self.baseline.same(self.adapter):
            return None
        same = "the metrics of both models are identical to the last digit"
        moved = (self.scores["adapter"] - self.scores["baseline"]).abs().max()
        if moved == 0:
            return (
                f"{same}: the adapter changed nothing: was it applied? run `python analyze.py "
                f"analysis=diagnose {_typed('adapter', str(self.source.adapter))} "
                f"{_typed('base', self.source.base)}`"
            )
        return f"{same}, but scores differ by up to {moved:.2g}: these pairs cannot tell them apart"


def compare_pairs(pairs: Path, adapter: str, base: str | None, cache: Path) -> Comparison:
    """Score all pairs by both models.

    Args:
        pairs: CSV or MRPC's TSV.
        adapter: Folder of a PEFT adapter, or of a run.
        base: Its base model; None is the one that the run or the adapter names.
        cache: Folder of what can be made again: token ids, digests.

    Raises:
        UserError: If a file is missing or malformed, or the adapter does not fit the model.
    """
    rows = read_pairs(pairs)
    source = find_adapter(adapter, base)
    backbone, tokenizer = load_base(source, cache)
    backbone.to("cuda" if torch.cuda.is_available() else "cpu")
    texts = tokenize_pairs(pairs, rows, backbone, tokenizer, cache)
    labels_N = np.array([row.label for row in rows])
    before_N = score(backbone, texts)
    load_adapter(backbone, source.adapter)
    after_N = score(backbone, texts)
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
        source,
        scores,
        measure(before_N, labels_N),
        measure(after_N, labels_N),
        texts.table.num_truncated,
    )


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """What ``pairs.json`` holds; null is what is not defined."""
    moved = (comparison.scores["adapter"] - comparison.scores["baseline"]).abs()
    return {
        "pairs": str(comparison.pairs),
        "adapter_folder": str(comparison.source.adapter),
        "base_model": comparison.source.base,
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


def _typed(key: str, value: str) -> str:
    """An override as the shell and Hydra take it: folders of runs hold commas and ``=``."""
    return f"{key}={value}" if re.fullmatch(r"[\w./+-]+", value) else f"\"{key}='{value}'\""


def _metrics_json(metrics: Metrics) -> dict[str, Any]:
    plain = {k: None if math.isnan(v) else v for k, v in metrics.figures.items()}
    counts = {k: None if v is None else int(v) for k, v in plain.items() if k in COUNTS}
    return plain | counts | {"notes": list(metrics.notes)}
