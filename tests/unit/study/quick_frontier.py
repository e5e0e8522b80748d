"""train.py study=frontier whose trainings and report take a moment.

The file ``diverge`` below the runs names cells whose loss becomes NaN.
"""

from pathlib import Path

import hydra
from disturbances import TIMES, begin, begin_bases
from hydra.core.hydra_config import HydraConfig

from loradrift import config, launching, study, sweeping
from loradrift.callbacks.guards import TrainingFault
from loradrift.cli import entry_point as cli
from loradrift.files import write_json
from loradrift.runs import Status
from loradrift.runs.record import NOT_FINITE
from loradrift.study.frontier import plan

for part in (config, launching, sweeping, study):
    part.register()

ROOT = Path(__file__).parents[3]


@hydra.main(
    config_path=str(ROOT / "conf"), config_name="train", execution_whitelist=cli.HYDRA_MAY_CALL
)
def main(cfg):
    with cli.cell(cfg, HydraConfig.get().overrides.task) as (settings, cell):
        if not cell.finished:
            begin(settings.runs, cell.folder)
            diverge = Path(settings.runs, "diverge")
            if diverge.is_file() and diverge.read_text() in cell.folder.parent.name:
                raise TrainingFault(f"{NOT_FINITE} nan at step 3: lower method.optim.lr")
            (cell.folder / "metrics.csv").write_text("step\n9\n")
            metrics = {"evaluation/accuracy": 0.75, "validation/accuracy": 0.5}
            cell.save(status=Status.SUCCESS, metrics=metrics, steps=10, performance=TIMES)
        return cell.record.score


def report(name, settings, baseline):
    begin(settings.runs, "report")
    folder = Path(settings.results, name)
    write_json(folder / "frontier.json", {"baseline": baseline})
    (folder / "report.html").write_text("all is well")


plan.make_bases = begin_bases
plan.analyse_study = report

if __name__ == "__main__":
    with cli.entry_point():
        main()
