"""train.py with a training of a moment: the score is a function of the learning rate."""

import math
import os
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from loradrift import config, launching, sweeping
from loradrift.cli import entry_point as cli
from loradrift.runs import Status

config.register()
launching.register()
sweeping.register()

ROOT = Path(__file__).parents[3]
STEPS = 5


@hydra.main(
    config_path=str(ROOT / "conf"), config_name="train", execution_whitelist=cli.HYDRA_MAY_CALL
)
def main(cfg):
    with cli.cell(cfg, HydraConfig.get().overrides.task) as (settings, cell):
        if cell.finished:
            return cell.record.score
        return quick(settings, cell).score


def quick(settings, cell):
    """Best at a learning rate of 1e-3; above 1e-2 it fails. The file ``die`` names trials."""
    from loradrift.sweeping.reporting import Reporter

    with Path(settings.runs, "begun.log").open("a") as log:
        log.write(f"{settings.search.trial} {cell.folder} {time.time()}\n")
    die = Path(settings.runs, "die")
    if die.exists() and str(settings.search.trial) in die.read_text().split():
        os._exit(9)
    lr = settings.method.optim.lr
    reporter = Reporter(settings.search, cell.folder, total_steps=STEPS)
    seconds = float(os.environ.get("STEP_S", "0"))
    if settings.search.trial == 0:
        seconds *= float(os.environ.get("FIRST_TAKES", "1"))
    for step in range(1, STEPS + 1):
        time.sleep(seconds)
        if lr > 1e-2:
            raise config.UserError(f"loss is nan at step {step}")
        value = 1 - abs(math.log10(lr) + 3) * step / STEPS
        if reporter.ends(step, value):
            return finished(cell, Status.PRUNED, value)
    return finished(cell, Status.SUCCESS, value)


def finished(cell, status, value):
    cell.save(status=status, metrics={"validation/accuracy": value})
    return cell.record


if __name__ == "__main__":
    with cli.entry_point():
        main()
