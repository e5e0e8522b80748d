"""Forgetting: how well the backbone still predicts text that belongs to no task."""

import torch

from loradrift.config import Config, TrainedConfig
from loradrift.data import EvaluationBatches, Share
from loradrift.models import Backbone
from loradrift.tasks.language_modeling import LanguageModelingTask
from loradrift.tasks.prepared import PreparedData
from loradrift.training.build import build_evaluator

NUM_ROWS = 16
"""Rows of neutral text at a time: scores of a whole vocabulary for each token are large."""


def measure_forgetting(
    when: str, config: Config, backbone: Backbone, data: PreparedData, share: Share
) -> dict[str, float]:
    """Mean next-token loss of the backbone on the neutral text, with its language-modelling head.

    Modes and random state are afterwards what they were.

    Args:
        when: ``before`` or ``after`` training.
        config: The run's; gives device and precision.
        backbone: With the weights to be measured.
        data: Hold the text.
        share: This process's part of it.

    Returns:
        ``forgetting/loss_<when>``, in nats per token, over all processes; empty where it is not
        measured.
    """
    if data.retention is None:
        return {}
    assert isinstance(config.method, TrainedConfig)
    task = LanguageModelingTask(backbone, config.method.optim)
    batches = EvaluationBatches(data.retention, data.collate, batch_size=NUM_ROWS, share=share)
    # Compiled code would specialise on these shapes, and training would then not be to the bit
    # what it is without this measurement.
    with torch.compiler.set_stance("force_eager"):
        [figures] = build_evaluator(config).validate(task, batches, verbose=False)
    return {f"forgetting/loss_{when}": figures["validation/loss"]}
