"""The folders of an export: the adapter, the whole model, and the classifier."""

# Shape suffixes: O outputs, I inputs.

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loradrift.adapters import AdapterFiles
from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import PREFIX, WEIGHTS
from loradrift.diagnose import merge_adapter
from loradrift.generation.vllm_rules import HEADS
from loradrift.models.soft_prompt.adapting import ENCODER
from loradrift.runs.model_files import HEAD
from loradrift.serving.export_source import SCORE


def write_adapter(files: AdapterFiles, base: Path, folder: Path) -> None:
    """Write the adapter of the language model: without a classifier's head."""
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    saved = [name for name in files.config.get("modules_to_save") or [] if name not in HEADS]
    config = files.config | {"base_model_name_or_path": str(base), "modules_to_save": saved or None}
    if files.config.get("task_type") != "SEQ_CLS":
        shutil.copyfile(files.folder / WEIGHTS, folder / WEIGHTS)
    else:
        weights = load_file(files.folder / WEIGHTS)
        kept = {key: x for key, x in weights.items() if not key.startswith(f"{PREFIX}{SCORE}.")}
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
        config["task_type"] = "CAUSAL_LM"
    _write_config(folder, config)


def write_merged(adapter: Path, base: Path, folder: Path) -> tuple[str, ...]:
    """Write the base with the adapter added to its weights: in fp32, and not rounded again.

    Gives the names of modules that are no longer tied to another.
    """
    return merge_adapter(adapter, str(base), folder, dtype=torch.float32).untied


def write_whole(model: Path, folder: Path) -> None:
    """Copy a run's whole weights, without the task's head: engines take it for the model's."""
    heads = shutil.ignore_patterns(HEAD, ENCODER)
    shutil.copytree(model, folder, ignore=heads, copy_function=shutil.copyfile)


def write_classifier(adapter: Path, head: Mapping[str, Tensor], base: Path, folder: Path) -> None:
    """Write an adapter with the head as ``score``, as PEFT saves it; weight and bias in fp32."""
    from safetensors.torch import load_file, save_file

    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    weights = load_file(adapter / WEIGHTS)
    weights |= {f"{PREFIX}{SCORE}.{key}": x.float().contiguous() for key, x in head.items()}
    folder.mkdir()
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config |= {"base_model_name_or_path": str(base)}
    _write_config(folder, config | {"task_type": "SEQ_CLS", "modules_to_save": [SCORE]})


def write_idle(layer: str, shape: tuple[int, int], folder: Path) -> None:
    """Write an adapter of rank 1 that changes nothing, to carry a head: vLLM takes it with one.

    Args:
        layer: Name of a linear layer in the model.
        shape: (O, I) of its weight.
        folder: Where it is written.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    config = LoraConfig(task_type="CAUSAL_LM", r=1, lora_alpha=1, target_modules=[layer])
    config.save_pretrained(str(folder))
    factors = {"lora_A": torch.zeros(1, shape[1]), "lora_B": torch.zeros(shape[0], 1)}
    weights = {f"{PREFIX}{layer}.{part}.weight": x for part, x in factors.items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
