"""Scores of answers: how much of a trait each has, and how coherent it is, both 0 to 100.

:func:`open_judge` opens the judge that ``judge=<name>`` chooses, :func:`judge_cell` has it score
the answers of a steering cell, and ``benchmark=judging`` does so for all cells again.
"""

from loradrift.config.benchmarks import Benchmark, add_benchmark
from loradrift.judges.base import Item, Judge, Score, Status
from loradrift.judges.config import (
    JudgeConfig,
    JudgingBenchmarkConfig,
    register_schemas,
    resolve_judge,
)
from loradrift.judges.judged import judge_cell
from loradrift.judges.opening import open_judge

__all__ = [
    "Item", "Judge", "JudgeConfig", "Score", "Status", "judge_cell", "open_judge", "resolve_judge",
]  # fmt: skip

register_schemas()
add_benchmark(Benchmark("judging", JudgingBenchmarkConfig, "loradrift.judges.judging:run"))
