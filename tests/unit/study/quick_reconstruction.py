"""train.py study=reconstruction whose trainings and report take a moment.

The file ``collapse`` below the runs names cells that end as collapsed.
"""

from pathlib import Path

from disturbances import TIMES, begin, begin_bases
from quick_study import quick_train

from loradrift.cli import entry_point as cli
from loradrift.files import write_json
from loradrift.runs import Status, write_diagnostics
from loradrift.study.reconstruction import plan


def answer(settings, cell):
    """Rank, latents and seed decide how good the answers are: ``f1`` at the end, half before."""
    name, rank = cell.folder.parent.name, getattr(settings.method, "rank", 0)
    f1 = float(rank + settings.task.num_latents + settings.seed)
    rows = [
        {"seed": settings.seed, "step": step, "text_f1": value, "text_em": value / 2, "loss": 2.0,
         "train": {"reconstruction": 0.1}, "collapse": {"unique_share": 0.9}, "collapsed": False}
        for step, value in ((5, f1 / 2), (10, f1))
    ]  # fmt: skip
    write_diagnostics(cell.folder / "diagnostics.jsonl", rows)
    (cell.folder / "metrics.csv").write_text("step\n9\n")
    collapse = Path(settings.runs, "collapse")
    if collapse.is_file() and collapse.read_text() in name:
        status, metrics, alarms = Status.COLLAPSED, {"validation/text_f1": f1}, 1
    else:
        figures = {"text_f1": f1 + 0.5, "text_em": f1 / 2, "loss": 2.0}
        metrics = {f"evaluation/{name}": value for name, value in figures.items()}
        status, alarms = Status.SUCCESS, 0
    found = {"evaluations": 2, "alarms": alarms}
    cell.save(status=status, metrics=metrics, steps=10, collapse=found, performance=TIMES)


def report(own):
    """r8_a16_l12 alone is compared; ``layers`` are this model's, numbers as tables hold them."""
    begin(own.settings.runs, "report")
    gain = {"gain": 9.5, "gain_low": 7.25, "gain_high": 11.75, "verdict": "significant"}
    lora = {"method": "lora", "rank": 8.0, "alpha": 16.0, "layers": "2"}
    none = {"method": "head_only", "rank": None, "alpha": None, "layers": None, "verdict": None}
    arms = [none, lora | gain | {"at_least": True}]
    content = {"study": own.study.name, "comparisons": arms}
    folder = Path(own.settings.results, "reconstruction")
    write_json(folder / "reconstruction.json", content)
    (folder / "report.html").write_text("all is well")


plan.make_bases = begin_bases
plan.ReconstructionPlan._report = report

if __name__ == "__main__":
    with cli.entry_point():
        quick_train(answer)()
