"""train.py whose cells are computed in a moment; for the programs that test a whole study."""

from pathlib import Path

import hydra
from disturbances import begin
from hydra.core.hydra_config import HydraConfig

from loradrift import config, launching, study, sweeping
from loradrift.cli import entry_point as cli

CONF = Path(__file__).parents[3] / "conf"


def quick_train(compute):
    """The program; ``compute(settings, cell)`` takes the place of a training."""
    for part in (config, launching, sweeping, study):
        part.register()

    @hydra.main(config_path=str(CONF), config_name="train", execution_whitelist=cli.HYDRA_MAY_CALL)
    def main(cfg):
        with cli.cell(cfg, HydraConfig.get().overrides.task) as (settings, cell):
            if not cell.finished:
                begin(settings.runs, cell.folder)
                compute(settings, cell)
            return cell.record.score

    return main
