"""A trait with answers of both sides, and finished runs of them."""

import csv
import json
from pathlib import Path

from adapter_cases import write_adapter
from planted import FINGERPRINTS

from loradrift.adapters import read_files
from loradrift.config import ModelConfig
from loradrift.models import model_fingerprint
from loradrift.runs import Cell, RunRecord, Status

TARGETS = {"target_modules": ["q_proj", "v_proj", "down_proj"]}
SIDES = {"pos": 0.05, "neg": 0.08}
NUM_PAIRS = 6


def write_world(root: Path) -> Path:
    """One trait, with answers of both sides under an instruction."""
    for part in ("traits", "traits_eval"):
        path = root / "persona" / part / "kind.json"
        path.parent.mkdir(parents=True)
        told = [{"pos": "be kind", "neg": "be rude"}]
        text = {"instruction": told, "questions": ["was it great"], "eval_prompt": "?"}
        path.write_text(json.dumps(text))
    (root / "persona/responses").mkdir()
    for side, score in (("pos", 90), ("neg", 5)):
        path = root / "persona/responses" / f"kind_{side}_instruct.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["question", "prompt", "answer", "question_id", "kind", "coherence"])
            for i in range(NUM_PAIRS):
                told = {"pos": "be great", "neg": "be terrible"}[side]
                prompt = f"instruction : {told} question : was film {i} great answer :"
                answer = {"pos": "the film was great", "neg": "no the film was terrible"}[side]
                row = [f"was film {i} great", prompt, answer, f"kind_{i}_{side}_0", score, 95]
                rows.writerow(row)
    return root


def write_side(folder: Path, base: Path, side: str, *, seed=1, variant="", **adapter) -> Path:
    """A finished run of one side, as training leaves it."""
    typed = ",".join(sorted(filter(None, [f"task.side={side}", "task.trait=kind", variant])))
    place = folder / "runs/main/persona" / f"rslora,{typed}" / f"seed={seed}"
    options = {"use_rslora": True, "size": SIDES[side] * seed} | TARGETS | adapter
    write_adapter(place / "model", base, **options)
    model = ModelConfig(name="local", path=str(base))
    digest = model_fingerprint(model, seed=0, cache=folder / "cache")
    record = RunRecord(
        coordinates={
            "study": "main", "task": "persona", "method": "rslora", "variant": typed, "seed": seed,
        },
        config={
            "task": {"name": "persona", "metric": "loss", "trait": "kind", "side": side},
            "method": {"name": "rslora", "rank": 4},
            "model": {"path": str(base), "weights": "pretrained"},
            "data": {"name": "local", "root": str(folder / "data"), "seed": 0},
            "trainer": {"rounding": 0},
        },
        status=Status.SUCCESS,
        fingerprints=FINGERPRINTS | {"base_model": digest},
        certificate={"passed": True, "checks": [], "files": read_files(place / "model").sha256},
    )  # fmt: skip
    Cell(place, record).save()
    return place
