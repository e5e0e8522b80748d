"""Settings judged against the model's own configuration, before an engine starts."""

from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.generation.base import EngineSettings
from loradrift.weights.stored import read_json


def text_config(model: Path) -> dict[str, Any]:
    """What ``config.json`` says of the language model.

    Raises:
        UserError: If the folder is no model's.
    """
    if not (model / "config.json").is_file():
        raise UserError(f"{model} is no model: it has no config.json")
    config = read_json(model / "config.json")
    text: dict[str, Any] = config.get("text_config", config)
    return text


def check_settings(settings: EngineSettings) -> dict[str, Any]:
    """Refuse what no engine can do on this machine or with this model; gives its configuration.

    Raises:
        UserError: If there is no model or no GPU, or ``max_length`` is too large for the model.
    """
    if settings.accelerator == "gpu":
        import torch

        if not torch.cuda.is_available():
            raise UserError("trainer.accelerator=gpu needs a GPU, this machine has none")
    config = text_config(settings.model)
    longest = config.get("max_position_embeddings")
    if longest is not None and settings.max_length > longest:
        raise UserError(
            f"max_length must be at most {longest}, the model's max_position_embeddings, got "
            f"{settings.max_length}"
        )
    return config
