"""Train one cell of the design, or with ``-m`` a whole grid; ``--help`` says more."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from loradrift import config, launching, study, sweeping
from loradrift.cli.entry_point import HYDRA_MAY_CALL, cell, entry_point, quote_values

config.register()
launching.register()
sweeping.register()
study.register()


@hydra.main(config_path="conf", config_name="train", execution_whitelist=HYDRA_MAY_CALL)
def main(cfg: DictConfig) -> float | None:
    """Run the cell that ``cfg`` describes; return the validation metric for a sweeper."""
    with cell(cfg, HydraConfig.get().overrides.task) as (settings, held):
        if held.finished:
            return held.record.score
        from loradrift.training import run

        return run(settings, held).score


if __name__ == "__main__":
    with entry_point():
        quote_values(sys.argv)
        main()
