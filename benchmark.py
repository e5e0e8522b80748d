"""Measure what a trained model costs to run and what steers it; ``--help`` says more."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import loradrift.judges
import loradrift.serving
import loradrift.steering  # noqa: F401  all three register benchmark=…
from loradrift import config, launching
from loradrift.cli.benchmark_job import refuse_launchers, run_benchmark
from loradrift.cli.entry_point import HYDRA_MAY_CALL, entry_point, quote_values

config.register()
launching.register_multirun()


@hydra.main(config_path="conf", config_name="benchmark", execution_whitelist=HYDRA_MAY_CALL)
def main(cfg: DictConfig) -> None:
    """Run the benchmark that ``cfg`` describes."""
    run_benchmark(cfg, HydraConfig.get().overrides.task)


if __name__ == "__main__":
    with entry_point():
        refuse_launchers(sys.argv)
        quote_values(sys.argv)
        main()
