"""The base model's scores against the same model's with an adapter, on labelled text pairs."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.pairs import PairsConfig
from loradrift.analysis.pairs.intervals import Intervals, bootstrap
from loradrift.analysis.pairs.metrics import Metrics, is_binary, measure
from loradrift.analysis.pairs.reading import read_pairs
from loradrift.analysis.pairs.scores import prepare_texts, score
from loradrift.diagnose import AdapterCase, Applied, apply_adapter, diagnose_command, find_case


class Comparison(NamedTuple):
    """The results of two models on the same pairs."""

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
    def largest_change(self) -> float:
        """The largest change of a score."""
        return float((self.scores["adapter"] - self.scores["baseline"]).abs().max())

    @property
    def warnings(self) -> list[str]:
        """What speaks against the adapter, one line each: its certificate, and equal metrics."""
        said = []
        if problem := self.applied.problem:
            said.append(f"the adapter is loaded, but its certificate does not hold: {problem}")
        if self.baseline.same(self.adapter):
            same = "the metrics of both models are identical to the last digit"
            if moved := self.largest_change:
                apart = f"scores differ by up to {moved:.2g}: these pairs cannot tell them apart"
                return [*said, f"{same}, but {apart}"]
            said.append(f"{same}: the adapter changed nothing")
        if said:
            command = diagnose_command(str(self.case.files.folder), self.case.base)
            said[-1] += f"; `{command}` says what to change"
        return said


def compare(settings: PairsConfig) -> Comparison:
    """Score all pairs by both models; the one with the adapter is the one that was certified."""
    pairs = Path(settings.pairs)
    rows = read_pairs(pairs)
    case = find_case(settings.adapter, settings.base)
    loaded = case.load()
    texts = prepare_texts(pairs, rows, loaded, case.base)
    before_N = score(loaded, texts)
    applied = apply_adapter(case, loaded)
    after_N = score(applied.loaded, texts)
    scores = pd.DataFrame(rows)[["line", "label"]].assign(baseline=before_N, adapter=after_N)
    labels_N = scores["label"].to_numpy()
    before, after = measure(before_N, labels_N), measure(after_N, labels_N)
    rng = np.random.default_rng(settings.analysis.seed)
    intervals = bootstrap((before_N, before), (after_N, after), labels_N, rng)
    uses = Counter(text for row in rows for text in {row.text1, row.text2})
    num_sharing = sum(max(uses[row.text1], uses[row.text2]) > 1 for row in rows)
    return Comparison(
        case, applied, scores, before, after, intervals, texts.num_truncated, num_sharing
    )
