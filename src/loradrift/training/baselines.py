"""Predictions without training, with the same record as a trained run."""

import operator
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_accuracy, binary_f1_score

from loradrift.config import Config, SquadConfig
from loradrift.data import FORMATS, Row
from loradrift.models import Backbone, load_backbone
from loradrift.runs import Cell, RunRecord
from loradrift.tasks import Answered, answer_log_likelihoods
from loradrift.training.loggers import open_loggers
from loradrift.training.predictions import write_lossy, write_rows
from loradrift.training.prepared_data import PreparedData
from loradrift.training.squad_baselines import predict_answers
from loradrift.training.train import write_config


def predict_baseline(config: Config, cell: Cell, data: PreparedData) -> RunRecord:
    """Evaluate a baseline on the validation and reported rows."""
    backbone = None
    if config.method.name == "zero_shot":
        device = torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")
        backbone = load_backbone(data.model, seed=config.seed).eval().to(device)
    if isinstance(config.task, SquadConfig):
        metrics = predict_answers(config, cell.folder, data)
    else:
        metrics = predict_labels(config, cell.folder, data, backbone)
    write_config(Path(cell.folder, "config.yaml"), config)
    write_lossy(cell.folder, data.lossy_answers)
    with open_loggers(config, cell, 0) as loggers:
        for logger in loggers:
            logger.log_metrics(metrics, 0)
            logger.save()
    return replace(
        cell.record,
        fingerprints=data.fingerprints,
        rows=data.num_rows,
        parameters={
            "trainable": 0,
            "total": sum(p.numel() for p in backbone.parameters()) if backbone else 0,
        },
        metrics={**metrics},
    )


def predict_labels(
    config: Config, folder: Path, data: PreparedData, backbone: Backbone | None
) -> dict[str, float]:
    """Accuracy and F1 of both splits; writes the evaluation split's predictions."""
    metrics: dict[str, float] = {}
    for name in ("validation", "evaluation"):
        rows: list[Row] = getattr(data.splits, name)
        scores_N = positive_scores(config, data, rows, backbone)
        labels_N = torch.tensor([row.label for row in rows])
        chosen_N = (scores_N > 0.5).long()
        metrics[f"{name}/accuracy"] = float(binary_accuracy(chosen_N, labels_N))
        metrics[f"{name}/f1"] = float(binary_f1_score(chosen_N, labels_N))
    write_rows(
        folder / "predictions.jsonl",
        (
            {"id": row.id, "label": row.label, "prediction": int(score > 0.5), "score": score}
            for row, score in zip(rows, scores_N.tolist(), strict=True)
        ),
    )
    return metrics


def positive_scores(
    config: Config, data: PreparedData, rows: list[Row], backbone: Backbone | None
) -> Tensor:
    """Probability (N,) of label 1 of each row; only ``zero_shot`` needs the backbone."""
    match config.method.name:
        case "majority":
            counts = Counter(row.label for row in data.splits.train)
            return torch.full((len(rows),), float(counts[1] > counts[0]))
        case "random":
            draw = random.Random(f"{config.seed} {len(rows)}")
            return torch.tensor([draw.random() for _ in rows])
        case "zero_shot":
            assert backbone is not None
            return zero_shot_scores(config, data, rows, backbone)
        case name:
            raise AssertionError(f"no baseline is called {name}")


def zero_shot_scores(
    config: Config, data: PreparedData, rows: list[Row], backbone: Backbone
) -> Tensor:
    """Share (N,) of label 1's words in the likelihood of both labels' words."""
    form = FORMATS[config.task.name]
    questions = [form.question.format(text=row.text, pair=row.pair) for row in rows]
    scores_N2 = answer_log_likelihoods(
        backbone,
        [
            tokenize_answers(data.tokenizer, question, form.answers, config.task.max_length)
            for question in questions
        ],
        pad_id=data.collate.pad_id,
        batch_size=2 * config.task.batch_size,
    )
    return scores_N2.softmax(1)[:, 1].cpu()


def tokenize_answers(
    tokenizer: Any, question: str, answers: Sequence[str], max_length: int
) -> Answered:
    """Token ids of the question with each answer, and where the answers part.

    Question and answer are tokenised together: a tokenizer may join them, or put a space before a
    text of its own. A long question loses its beginning, since its end asks.
    """
    texts = [question + answer for answer in answers]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    parted = (len(set(tokens)) > 1 for tokens in zip(*ids, strict=False))
    shared = sum(1 for _ in takewhile(operator.not_, parted))
    surplus = max(map(len, ids)) + len(bos) - max_length
    cut = min(max(0, surplus), shared - 1)
    return Answered([bos + each[cut:] for each in ids], len(bos) + shared - cut)
