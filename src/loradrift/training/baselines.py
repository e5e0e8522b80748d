"""Predictions without training, with the same record as a trained run."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_accuracy, binary_f1_score

from loradrift.config import Config
from loradrift.data import FORMATS, Row
from loradrift.models import load_backbone
from loradrift.runs import Cell, RunRecord
from loradrift.tasks import answer_log_likelihoods
from loradrift.training.inputs import Inputs
from loradrift.training.loggers import open_loggers
from loradrift.training.train import write_config, write_predictions


def predict_baseline(config: Config, cell: Cell, inputs: Inputs) -> RunRecord:
    """Evaluate ``majority``, ``random`` or ``zero_shot`` on the validation and reported rows."""
    metrics: dict[str, float] = {}
    for name in ("validation", "evaluation"):
        rows: list[Row] = getattr(inputs.splits, name)
        scores_N = positive_scores(config, inputs, rows)
        labels_N = torch.tensor([row.label for row in rows])
        chosen_N = (scores_N > 0.5).long()
        metrics[f"{name}/accuracy"] = float(binary_accuracy(chosen_N, labels_N))
        metrics[f"{name}/f1"] = float(binary_f1_score(chosen_N, labels_N))
    write_predictions(
        cell.folder / "predictions.jsonl",
        (
            {"id": row.id, "label": row.label, "prediction": int(score > 0.5), "score": score}
            for row, score in zip(rows, scores_N.tolist(), strict=True)
        ),
    )
    write_config(Path(cell.folder, "config.yaml"), config)
    with open_loggers(config, cell, 0) as loggers:
        for logger in loggers:
            logger.log_metrics(metrics, 0)
            logger.save()
    return replace(
        cell.record,
        fingerprints=inputs.fingerprints,
        rows=inputs.num_rows,
        parameters={"trainable": 0, "total": 0},
        metrics={**metrics},
    )


def positive_scores(config: Config, inputs: Inputs, rows: list[Row]) -> Tensor:
    """Probability (N,) of label 1 of each row."""
    match config.method.name:
        case "majority":
            counts = Counter(row.label for row in inputs.splits.train)
            return torch.full((len(rows),), float(counts[1] > counts[0]))
        case "random":
            draw = random.Random(f"{config.seed} {len(rows)}")
            return torch.tensor([draw.random() for _ in rows])
        case "zero_shot":
            return zero_shot_scores(config, inputs, rows)
        case name:
            raise AssertionError(f"no baseline is called {name}")


def zero_shot_scores(config: Config, inputs: Inputs, rows: list[Row]) -> Tensor:
    """Share (N,) of label 1's words in the likelihood of both labels' words."""
    form, encode = FORMATS[config.task.name], inputs.tokenizer
    device = torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")
    backbone = load_backbone(inputs.model, seed=config.seed).eval().to(device)
    answers = [encode(words, add_special_tokens=False)["input_ids"] for words in form.answers]
    prefix = [] if encode.bos_token_id is None else [encode.bos_token_id]
    room = config.task.max_length - len(prefix) - max(map(len, answers))
    texts = [form.question.format(text=row.text, pair=row.pair) for row in rows]
    # the end of a prompt asks the question, so a long one loses its beginning
    prompts = [prefix + ids[-room:] for ids in encode(texts, add_special_tokens=False)["input_ids"]]
    scores_N2 = answer_log_likelihoods(
        backbone,
        prompts,
        answers,
        pad_id=inputs.collate.pad_id,
        batch_size=2 * config.task.batch_size,
    )
    return scores_N2.softmax(1)[:, 1].cpu()
