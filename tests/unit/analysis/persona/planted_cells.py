"""Steering cells with a known truth, written as the benchmark and the judges write them."""

import csv
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from loradrift.analysis.persona.tables import tabulate
from loradrift.analysis.registry import make_config
from loradrift.files import write_json
from loradrift.runs.record import RunRecord, Status

STEERING = {
    "study": "main", "direction_seed": 0, "direction": "", "vector": "response_avg", "layers": [],
    "positions": "all", "questions": 20, "samples": 1, "max_tokens": 48, "temperature": 0.0,
    "batch_size": 10, "run": "", "also": {}, "neutral_rows": 16, "task": "sst2", "task_rows": 40,
}  # fmt: skip

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)
TRUTH = {
    "none": (lambda c: 20.0, lambda c: 95.0),
    "prompt": (lambda c: 20 + 40 * c, lambda c: 95 - 5 * c),
    "activation": (lambda c: 20 + 70 * c, lambda c: 95 - 40 * c**2),
    "weight": (lambda c: 20 + 70 * c, lambda c: 95 - 40 * c**2),
    "random_weight": (lambda c: 20.0, lambda c: 95 - 30 * c),
}
"""Arm -> mean trait and mean coherence at a dose, of any trait."""


def questions_of(trait, count=20):
    return [f"what of {trait}, number {number}?" for number in range(count)]


class World:
    """Cells below ``root/runs``; every question has a luck of its own that all arms share."""

    def __init__(self, root, *, seed=0, questions=20, judge="oracle", luck=15.0, noise=5.0):
        self.root, self.runs = Path(root), Path(root, "runs")
        self.rng = np.random.default_rng(seed)
        self.questions, self.judge, self.luck, self.noise = questions, judge, luck, noise

    def question_luck(self, trait):
        rng = np.random.default_rng(zlib.crc32(trait.encode()))
        return self.luck * rng.normal(size=self.questions)

    def arms(self, traits=("cheerful", "terse"), truth=TRUTH, doses=DOSES, **options):
        """Every arm of every trait; dose 0 is the arm ``none``."""
        for trait in traits:
            for arm, (score, coherence) in truth.items():
                for dose in (0.0,) if arm == "none" else [c for c in doses if c]:
                    self.cell(trait, arm, dose, score(dose), coherence(dose), **options)
        return self

    def cell(self, trait, arm, dose, score, coherence, *, others=None, **options):
        """One cell; scores are means, or one value per question."""
        luck = self.question_luck(trait)
        noise = self.noise * self.rng.normal(size=(2, self.questions))
        scores = np.clip(score + luck + noise[0], 0, 100)
        coherences = np.clip(coherence + noise[1], 0, 100)
        judged = {trait: scores}
        for other, value in (others or {}).items():
            own = self.noise * self.rng.normal(size=self.questions)
            judged[other] = np.clip(value + own, 0, 100)
        return write_cell(
            self.runs, trait, arm, dose, judged, coherences=coherences, judge=self.judge, **options
        )


def write_cell(
    runs, trait, arm, dose, judged, *, coherences, judge="oracle", statuses=None, model="tiny",
    base="f00d", questions=None, fingerprints=None, status=Status.SUCCESS, judge_facts=None,
    neutral=None, task=None, unjudged=(), error=None, **steering,
):  # fmt: skip
    """Write a cell, and its judged scores but for the rows at the places ``unjudged``."""
    keys = STEERING | steering
    asked = questions or questions_of(trait, len(coherences))
    overrides = ["benchmark=steering", f"trait={trait}", f"arm={arm}", f"coefficient={dose:g}"]
    overrides += [
        f"steering.{key}={value}" for key, value in steering.items() if key not in ("also", "run")
    ]
    also = "".join(f"{name}_{c:g}" for name, c in keys["also"].items())
    suffix = f",also={also}" * bool(also) + f",run={Path(keys['run']).name}" * bool(keys["run"])
    name = ",".join([model, *overrides[1:]]) + suffix
    folder = Path(runs, "steering", "hf", name.replace("/", "_"))
    prints = {"base_model": base, "questions": str(zlib.crc32(" ".join(asked).encode()))}
    if arm not in ("none", "prompt"):
        prints["direction"] = f"{trait} {keys['direction_seed']}"
    record = RunRecord(
        kind="steering", status=status, error=error, overrides=overrides,
        coordinates={"benchmark": "steering", "engine": "hf", "model": model, "variant": ""},
        config={"trait": trait, "arm": arm, "coefficient": dose, "steering": keys, "seed": 0},
        fingerprints=prints | (fingerprints or {}), device="cpu", started="2026-08-01T10:00:00",
    )  # fmt: skip
    write_json(folder / "run.json", asdict(record))
    rows = [
        {"id": f"{trait}/{number}/0", "question": question, "sample": 0,
         "answer": f"answer {number} of {arm} at {dose:g}", "num_tokens": 9, "ended": "true"}
        for number, question in enumerate(asked)
    ]  # fmt: skip
    statuses = statuses or {}
    for place, named in statuses.items():
        if named == "empty":
            rows[place]["answer"] = ""
    pd.DataFrame(rows).to_csv(folder / "answers.csv", index=False)
    if neutral is not None:
        write_json(folder / "neutral.json", {"tokens": 0, "loss": 0.0, "rows": neutral})
    if task is not None:
        write_json(folder / "task.json", {"task": "sst2", "majority": 0.5, "rows": task})
    if judge is None:
        return folder
    place = folder / "judged" / judge
    place.mkdir(parents=True)
    for judged_trait, scores in judged.items():
        with (place / f"{judged_trait}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "question", "answer", "trait", "coherence", "status"])
            for number, row in enumerate(rows):
                if number in unjudged:
                    continue
                named = statuses.get(number, "scored")
                two = (float(scores[number]), float(coherences[number]))
                given = two if named == "scored" else ("", "")
                table.writerow([row["id"], row["question"], row["answer"], *given, named])
    facts = {"schema": 1, "judge": judge, "fingerprint": f"{judge} 1", "traits": list(judged)}
    write_json(place / "judge.json", facts | (judge_facts or {}))
    return folder


def config(root, keys=None, **values):
    """The configuration of ``analysis=persona`` for cells below ``root``."""
    places = {"runs": str(root / "runs"), "results": str(root / "results")}
    return make_config("persona", keys=keys, **places, **values)


def found(root, **keys):
    """What the analysis finds; nothing is drawn."""
    return tabulate(config(root, keys))
