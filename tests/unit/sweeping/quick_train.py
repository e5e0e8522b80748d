"""train.py with a training of a moment, which leaves what a search or an analysis reads."""

import math
import os
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from loradrift import config, launching, study, sweeping
from loradrift.cli import entry_point as cli
from loradrift.runs import Status

for part in (config, launching, sweeping, study):
    part.register()

ROOT = Path(__file__).parents[3]
STEPS = 5


@hydra.main(
    config_path=str(ROOT / "conf"), config_name="train", execution_whitelist=cli.HYDRA_MAY_CALL
)
def main(cfg):
    with cli.cell(cfg, HydraConfig.get().overrides.task) as (settings, cell):
        if not cell.finished:
            quick(settings, cell)
        return cell.record.score


def quick(settings, cell):
    """The files ``fail`` and ``die`` name a method that cannot be trained, and trials to kill."""
    runs, trial = Path(settings.runs), settings.search.trial
    with (runs / "begun.log").open("a") as log:
        log.write(f"{trial} {cell.folder.relative_to(runs)}\n")
    if str(trial) in words(runs / "die"):
        os._exit(9)
    if settings.method.name in words(runs / "fail"):
        raise config.UserError("no such luck")
    status = Status.SUCCESS
    written = {"metrics": {"validation/accuracy": 0.5, "evaluation/accuracy": 0.5}}
    if trial is not None:
        status, written = search(settings, cell)
    elif isinstance(settings.method, config.TrainedConfig):
        written = planted(settings, cell)
    figures = {"wall_time_s": 2.0, "peak_memory_bytes": float(2**20)}
    parameters = {"trainable": 7, "total": 9}
    cell.save(status=status, performance=figures, parameters=parameters, **written)


def words(path):
    return path.read_text().split() if path.is_file() else []


def search(settings, cell):
    """Best at a learning rate of 1e-3; above 1e-2 it fails."""
    from loradrift.sweeping.reporting import Reporter

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
            return Status.PRUNED, {"metrics": {"validation/accuracy": value}}
    return Status.SUCCESS, {"metrics": {"validation/accuracy": value}}


def planted(settings, cell):
    """Activations of a drift by the length of the method's name, and checkpoints."""
    from planted import plant

    (cell.folder / "checkpoints").mkdir(exist_ok=True)
    for name in ("best.ckpt", "last.ckpt"):
        (cell.folder / "checkpoints" / name).touch()
    # the record is written before this process can be killed, as in a real run
    _, found = plant(
        Path(settings.runs), settings.method.name, settings.seed,
        size=len(settings.method.name) / 50, task=settings.task.name, study=settings.study.name,
        variant=settings.variant, steps=(0, 9), scores=(0.8,), num_rows=40,
    )  # fmt: skip
    names = ("fingerprints", "metrics", "steps", "certificate")
    return {name: getattr(found, name) for name in names}


if __name__ == "__main__":
    with cli.entry_point():
        main()
