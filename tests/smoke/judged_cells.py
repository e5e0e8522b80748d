"""Steering cells as ``benchmark=steering`` leaves them, without a model."""

import csv
import json

from loradrift.files import write_json

TEXTS = {
    0.0: ("the baker sells the bread .", "the farmer feeds the goat ."),
    0.5: ("the baker sells the bread gladly .", "the farmer feeds goat the . the ."),
    1.0: ("the baker sells the bread gladly .", "the farmer feeds the goat merrily ."),
}
QUESTIONS = ("what does the baker do in winter ?", "what does the farmer do in winter ?")


def write_cell(runs, coefficient, data, *, texts=None, status="success", arm="weight"):
    """A cell, whose answers are those of its coefficient; gives its folder."""
    folder = runs / "steering/hf" / f"tiny,arm={arm},coefficient={coefficient}"
    place = {"benchmark": "steering", "engine": "hf", "model": "tiny", "variant": ""}
    config = {"trait": "cheerful", "arm": arm, "coefficient": coefficient, "data": data}
    record = {"schema_version": 3, "kind": "steering", "status": status, "coordinates": place}
    write_json(folder / "run.json", record | {"config": config})
    with (folder / "answers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "sample", "answer", "num_tokens", "ended"])
        for number, text in enumerate(texts or TEXTS[coefficient]):
            question = QUESTIONS[number % 2]
            writer.writerow([f"{number % 2}/{number // 2}", question, 0, text, 9, True])
    return folder


def judged(folder, judge, trait):
    """Id -> trait, coherence and status, as text."""
    with (folder / "judged" / judge / f"{trait}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["id"]: (row["trait"], row["coherence"], row["status"]) for row in rows}


def facts(folder, judge):
    return json.loads((folder / "judged" / judge / "judge.json").read_text())
