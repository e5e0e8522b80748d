"""train.py study=sequence whose trainings and report take a moment.

The file ``diverge`` below the runs names cells whose loss becomes NaN.
"""

from pathlib import Path

from disturbances import TIMES, begin, begin_bases
from quick_study import quick_train

from loradrift.callbacks.guards import TrainingFault
from loradrift.cli import entry_point as cli
from loradrift.files import write_json
from loradrift.runs import Status
from loradrift.runs.record import NOT_FINITE
from loradrift.study.sequence import plan


def compute(settings, cell):
    diverge = Path(settings.runs, "diverge")
    if diverge.is_file() and diverge.read_text() in str(cell.folder):
        raise TrainingFault(f"{NOT_FINITE} nan at step 3: lower method.optim.lr")
    (cell.folder / "metrics.csv").write_text("step\n9\n")
    (cell.folder / "model").mkdir(exist_ok=True)
    (cell.folder / "model/config.json").write_text("{}")
    metrics = {"evaluation/accuracy": 0.75, "validation/accuracy": 0.5}
    prints = {"base_model": "b"}
    start = settings.start and {"fingerprint": "f", **settings.start}
    own = {"metrics": metrics, "steps": 10, "performance": TIMES, "fingerprints": prints}
    cell.save(status=Status.SUCCESS, start=start, **own)


def report(name, settings, **keys):
    begin(settings.runs, "report")
    folder = Path(settings.results, name)
    write_json(folder / "sequence.json", keys)
    (folder / "report.html").write_text("all is well")


plan.make_bases = begin_bases
plan.analyse_study = report

if __name__ == "__main__":
    with cli.entry_point():
        quick_train(compute)()
