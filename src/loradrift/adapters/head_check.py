"""Whether a head that is not in an adapter's files has to be there, or is the base model's own."""

from typing import Any

from torch import Tensor

from loradrift.adapters.adapter_files import WEIGHTS, AdapterFiles
from loradrift.adapters.base_checks import Read
from loradrift.adapters.check_result import Finding, fails, holds, unjudged
from loradrift.adapters.lora_layers import LoraLayers


def check_head_of_base(files: AdapterFiles, lora_layers: LoraLayers, read: Read | None) -> Finding:
    """``head`` of a task with one, where the files hold none: PEFT saves what it finds by name."""
    base: Any = lora_layers.base
    named = tuple(f".{name}" for name in files.config.get("modules_to_save") or [])
    if any(f".{name}".endswith(named) for name, _ in base.named_modules() if named):
        return fails(lost_head(files))
    if read is None:
        return unjudged("no stored base, whose own the head may be")
    inner = f"{base.base_model_prefix}."
    heads = {name: x for name, x in base.named_parameters() if not name.startswith(inner)}
    lost = [
        name for name, x in heads.items() if ".lora_" not in name and not _is_stored(read, name, x)
    ]
    if lost:
        return fails(f"the head is lost: {lost[0]} is neither in {WEIGHTS} nor in the base")
    return holds(f"the head is the base's own: {', '.join(sorted(heads)) or 'none'}")


def _is_stored(read: Read, name: str, weight: Tensor) -> bool:
    stored = read(name.replace(".base_layer.", "."))
    return stored is not None and stored.shape == weight.shape


def lost_head(files: AdapterFiles) -> str:
    """The message that the files hold nothing of a head that they should hold."""
    modules = ",".join(files.config.get("modules_to_save") or []) or "(none)"
    task = files.config.get("task_type")
    return (
        f"the head is lost: {WEIGHTS} holds none of modules_to_save={modules}, which "
        f"task_type={task} needs; it would be random"
    )
