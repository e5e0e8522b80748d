"""Predictions without training, with the same record as a trained run."""

import torch

from loradrift.config import Config
from loradrift.models import load_backbone
from loradrift.runs import Cell
from loradrift.tasks import spec_of
from loradrift.tasks.prepared import PreparedData
from loradrift.training.loggers import open_loggers
from loradrift.training.outputs import record_inputs, write_predictions


def predict_baseline(config: Config, cell: Cell, data: PreparedData) -> None:
    """Evaluate a baseline on the validation and reported rows."""
    baseline = spec_of(config.task).baselines[config.method.name]
    backbone = None
    if baseline.needs_model:
        device = torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")
        backbone = load_backbone(data.model, seed=config.seed).eval().to(device)
    metrics: dict[str, float] = {}
    for split in ("validation", "evaluation"):
        outcome = baseline.predict(config, data, getattr(data.splits, split), backbone)
        metrics |= {f"{split}/{name}": value for name, value in outcome.metrics.items()}
    write_predictions(cell.folder, outcome.predictions, outcome.files)
    record_inputs(config, cell, data, backbone, num_trainable=0)
    with open_loggers(config, cell, 0) as loggers:
        for logger in loggers:
            logger.log_metrics(metrics, 0)
            logger.save()
    cell.save(metrics=metrics)
