"""Which machine measures, and whether it has room for that."""

import platform
import re
from pathlib import Path

from loradrift.config import Config
from loradrift.config.running import CPU_FACTS
from loradrift.models import load_architecture
from loradrift.study.costs.memory import Shape, neutral_memory, training_memory
from loradrift.study.costs.rows import local_model
from loradrift.study.disk import parameter_counts, size
from loradrift.training.prepared_data import RETENTION_LENGTH
from loradrift.training.worker import NEUTRAL_ROWS

MEMORY_FACTS = Path("/proc/meminfo")

MARGIN = 1.5
"""Memory that must be free to measure, over what is computed."""


def no_room(config: Config, positions: int) -> str:
    """Why a run is not measured: its process could take the memory of others. Empty if not."""
    if config.trainer.accelerator == "gpu" or not MEMORY_FACTS.exists():
        return ""
    facts = MEMORY_FACTS.read_text(encoding="utf-8")
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", facts, re.M)
    free = 1024 * int(found[1]) if found else 0
    shape = shape_of(config)
    training = training_memory(shape, positions, checkpointing=False).total
    need = int(MARGIN * (training + neutral_memory(shape, NEUTRAL_ROWS * RETENTION_LENGTH)))
    if need < free:
        return ""
    return f"measuring may need {size(need)} of memory, and {size(free)} are free"


def shape_of(config: Config) -> Shape:
    """The shape of a run's model, taken for a Llama."""
    counts = parameter_counts(config)
    form = load_architecture(local_model(config)).get_text_config()
    heads = form.num_attention_heads
    groups = getattr(form, "num_key_value_heads", None) or heads
    return Shape(
        total=counts.total,
        trainable=counts.trainable,
        depth=counts.depth,
        width=counts.width,
        inner=getattr(form, "intermediate_size", None) or 4 * counts.width,
        keys=counts.width * groups // heads,
        vocabulary=form.vocab_size,
        tied=bool(form.tie_word_embeddings),
    )


def machine(accelerator: str) -> str:
    """The name of what computes."""
    import torch

    if accelerator == "gpu":
        return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    facts = CPU_FACTS.read_text(encoding="utf-8") if CPU_FACTS.exists() else ""
    found = re.search(r"^model name\s*:\s*(.*)$", facts, re.M)
    return found[1] if found else platform.processor()
