"""A folder with one trait, and files of answers to write into it."""

import csv
import json
from pathlib import Path

COLUMNS = ("question", "prompt", "answer", "question_id", "kind", "coherence")
QUESTION = "what now ?"


def write_trait(folder: Path) -> Path:
    """A trait ``kind`` with one instruction, one question and no answers yet."""
    content = {
        "instruction": [{"pos": "be kind .", "neg": "be unkind ."}],
        "questions": [QUESTION],
        "eval_prompt": "{question} {answer}",
    }
    for part in ("traits", "traits_eval"):
        path = folder / "persona" / part / "kind.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    return folder


def write_answers(root, side, rows, columns=COLUMNS):
    path = root / "persona/responses" / f"kind_{side}_instruct.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def rows_of(side, *triples, question=QUESTION):
    """A row for each answer, score and coherence, all answers to one question."""
    prompt = "<|im_start|>system\nbe\nkind<|im_end|>\n<|im_start|>user\n"
    return [
        (question, prompt, answer, f"kind_0_{side}_0", score, coherence)
        for answer, score, coherence in triples
    ]
