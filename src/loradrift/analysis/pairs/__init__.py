"""Labelled text pairs: does an adapter change what cosine scores say of them?"""

from loradrift.analysis.pairs.comparison import Comparison, compare_pairs, comparison_json
from loradrift.analysis.pairs.metrics import Metrics

__all__ = ["Comparison", "Metrics", "compare_pairs", "comparison_json"]
