"""Scores of answers: how much of a trait each has, and how coherent it is, both 0 to 100.

:func:`open_judge` opens the judge that ``judge=<name>`` chooses, :func:`judge_cell` has it score
the answers of a steering cell, and ``benchmark=judging`` does so for all cells again.
"""

from hydra.core.config_store import ConfigStore

from loradrift.config.benchmarks import Benchmark, add_benchmark
from loradrift.judges.base import Item, Judge, Score, Status
from loradrift.judges.config import (
    ClassifierConfig,
    EndpointConfig,
    JudgeConfig,
    JudgingBenchmarkConfig,
    resolve_judge,
)
from loradrift.judges.judged import judge_cell
from loradrift.judges.opening import open_judge
from loradrift.judges.registry import JudgeEntry, add_judge

__all__ = [
    "Item", "Judge", "JudgeConfig", "JudgeEntry", "Score", "Status", "add_judge", "judge_cell",
    "open_judge", "resolve_judge",
]  # fmt: skip

ConfigStore.instance().store("judge", JudgeConfig, group="schema/judge")
add_judge(JudgeEntry("oracle", JudgeConfig, "loradrift.judges.oracle:opened_oracle"))
add_judge(
    JudgeEntry("classifier", ClassifierConfig, "loradrift.judges.classifier:opened_classifier")
)
add_judge(JudgeEntry("endpoint", EndpointConfig, "loradrift.judges.endpoint:opened_endpoint"))
add_benchmark(Benchmark("judging", JudgingBenchmarkConfig, "loradrift.judges.judging:run"))
