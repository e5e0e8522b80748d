"""train.py study=persona whose trainings, answers and analyses take a moment."""

from dataclasses import asdict

from disturbances import TIMES, begin
from hydra.core.hydra_config import HydraConfig
from quick_study import quick_train

from loradrift import config
from loradrift.cli import entry_point as cli
from loradrift.files import write_json
from loradrift.judges import resolve_judge  # noqa: F401  registers judge=…
from loradrift.runs import Status, open_cell
from loradrift.steering.directions import direction_folder
from loradrift.study.persona import analyses, plan

CERTIFICATE = {"passed": True, "files": {"adapter_model.safetensors": "abc"}}


def compute(settings, cell):
    (cell.folder / "metrics.csv").write_text("step\n")
    cell.save(status=Status.SUCCESS, certificate=CERTIFICATE, performance=TIMES)


def steer(cfg):
    overrides = HydraConfig.get().overrides.task
    settings = config.load_benchmark(cfg, overrides)
    keys = ("model", "data", "seed", "trait", "steering")
    keys += ("arm", "coefficient") if "arm" in cfg else ("batch_sizes", "rounds")
    values = {key: asdict(settings)[key] for key in keys}
    standing = CERTIFICATE["files"] if settings.steering.__dict__.get("run") else {}
    plain = "arm" in cfg and cfg.arm in ("none", "prompt")
    identity = values | {"standing": standing}
    with open_cell(settings.cell, identity, kind=cfg.benchmark, overrides=overrides) as cell:
        if not cell.finished:
            begin(settings.runs, cell.folder)
            (cell.folder / "answers.csv").write_text("id,question,answer\n")
            certificate = None if plain else CERTIFICATE
            cell.save(status=Status.SUCCESS, certificate=certificate, performance=TIMES)


def direct(own):
    begin(own.settings.runs, "directions")
    for trait in own.study.traits:
        for seed in own.study.seeds:
            folder = direction_folder(own.results, own.study.name, trait, seed)
            write_json(folder / "direction.json", {"certificate": CERTIFICATE})


def judge(own):
    for folder in own.answered:
        begin(own.settings.runs, f"judging {folder.name}")
        write_json(folder / "judged" / own.judge / "judge.json", {})


def report(own):
    begin(own.settings.runs, "report")
    for name in analyses.REPORTS:
        (own.results / "persona").mkdir(parents=True, exist_ok=True)
        (own.results / "persona" / name).write_text("all is well")


plan.run_steering = steer
for name, quick in (("_direct", direct), ("_judge", judge), ("_report", report)):
    setattr(analyses.Analyses, name, quick)

if __name__ == "__main__":
    with cli.entry_point():
        quick_train(compute)()
