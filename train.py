"""Train one cell of the design, or with ``-m`` a whole grid; ``--help`` says more."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from loradrift import cli, config, launching, study, sweeping

config.register()
launching.register()
sweeping.register()
study.register()


@hydra.main(config_path="conf", config_name="train", execution_whitelist=cli.HYDRA_MAY_CALL)
def main(cfg: DictConfig) -> float | None:
    """Run the cell that ``cfg`` describes; return the validation metric for a sweeper."""
    with cli.cell(cfg, HydraConfig.get().overrides.task) as (settings, cell):
        if cell.finished:
            return cell.record.score
        from loradrift.training import run

        return run(settings, cell).score


if __name__ == "__main__":
    with cli.front_door():
        main()
