"""train.py with a training of a moment, which leaves what an analysis reads."""

from dataclasses import replace
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from planted import plant

from loradrift import config, launching, study, sweeping
from loradrift.cli import entry_point as cli
from loradrift.runs import Status

config.register()
launching.register()
sweeping.register()
study.register()

ROOT = Path(__file__).parents[3]


@hydra.main(
    config_path=str(ROOT / "conf"), config_name="train", execution_whitelist=cli.HYDRA_MAY_CALL
)
def main(cfg):
    with cli.cell(cfg, HydraConfig.get().overrides.task) as (settings, cell):
        if cell.finished:
            return cell.record.score
        return quick(settings, cell).score


def quick(settings, cell):
    """A method drifts by the length of its name; the file ``fail`` names one that cannot."""
    runs, method = Path(settings.runs), settings.method.name
    with (runs / "begun.log").open("a") as log:
        log.write(f"{cell.folder.relative_to(runs)}\n")
    if (runs / "fail").is_file() and (runs / "fail").read_text() == method:
        raise config.UserError("no such luck")
    written = replace(cell.record, metrics={"validation/accuracy": 0.5, "evaluation/accuracy": 0.5})
    if isinstance(settings.method, config.TrainedConfig):
        written = planted_run(settings, cell)
    figures = {"wall_time_s": 2.0, "peak_memory_bytes": float(2**20)}
    parameters = {"trainable": 7, "total": 9}
    cell.record = written
    cell.save(status=Status.SUCCESS, performance=figures, parameters=parameters)
    return cell.record


def planted_run(settings, cell):
    """Activations of a planted drift, and checkpoints; the record, which says so."""
    (cell.folder / "checkpoints").mkdir(exist_ok=True)
    for name in ("best.ckpt", "last.ckpt"):
        (cell.folder / "checkpoints" / name).touch()
    # the cell has a record of its own, whoever kills it now
    _, found = plant(
        Path(settings.runs), settings.method.name, settings.seed,
        size=len(settings.method.name) / 50, task=settings.task.name, study=settings.study.name,
        variant=settings.variant, steps=(0, 9), scores=(0.8,), num_rows=40,
    )  # fmt: skip
    return replace(
        cell.record, fingerprints=found.fingerprints, metrics=found.metrics, steps=found.steps,
        certificate=found.certificate,
    )  # fmt: skip


if __name__ == "__main__":
    with cli.entry_point():
        main()
