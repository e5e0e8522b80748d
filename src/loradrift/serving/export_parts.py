"""The folders of an export: the adapter, the whole model, and the classifier."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import PREFIX, WEIGHTS, AdapterFiles
from loradrift.diagnose import merge_adapter
from loradrift.serving.export_source import Source

SCORE = "score"
"""The head's name in transformers' classifiers, which vLLM knows too."""


def write_adapter(source: Source, folder: Path) -> None:
    """Write the adapter of the language model, without what belongs to the task's head."""
    files = source.case.files
    folder.mkdir()
    shutil.copy(files.folder / WEIGHTS, folder / WEIGHTS)
    config = files.config | {"base_model_name_or_path": str(source.base)}
    _write_config(folder, config)


def write_merged(source: Source, folder: Path) -> None:
    """Write the whole model in fp32: merged in fp32, and not rounded again."""
    merge_adapter(source.model, str(source.base), folder, dtype=torch.float32)
    (folder / "head.safetensors").unlink(missing_ok=True)  # engines take it for the model's


def write_classifier(source: Source, head: Mapping[str, Tensor], folder: Path) -> None:
    """Write the adapter with the run's head as ``score``, as PEFT saves it."""
    from safetensors.torch import load_file, save_file

    files = source.case.files
    folder.mkdir()
    weights = load_file(files.folder / WEIGHTS)
    weights |= {f"{PREFIX}{SCORE}.{key}": x.float().contiguous() for key, x in head.items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = files.config | {
        "base_model_name_or_path": str(source.base),
        "task_type": "SEQ_CLS",
        "modules_to_save": [SCORE],
    }
    _write_config(folder, config)


def classifier_head(files: AdapterFiles) -> dict[str, Tensor] | None:
    """The head of a classification run; None where the run has none, or another."""
    head = files.head
    return head if head is not None and head.keys() == {"weight", "bias"} else None


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
