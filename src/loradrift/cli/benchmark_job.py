"""One job of ``benchmark.py``: its configuration judged, its benchmark run."""

from collections.abc import Sequence

from omegaconf import DictConfig

import loradrift.methods  # registers method=…
import loradrift.tasks  # noqa: F401  registers task=…
from loradrift.config import load_benchmark
from loradrift.config.benchmarks import BENCHMARKS


def run_benchmark(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Run the benchmark that a composed configuration describes.

    Raises:
        UserError: If something that the user can fix is wrong.
    """
    config = load_benchmark(cfg, overrides)
    BENCHMARKS[config.benchmark].function()(config, overrides)
