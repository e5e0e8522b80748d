"""Small rows of ``task=reconstruction`` and the task on them, without a front door."""

from pathlib import Path
from random import Random

import torch

from loradrift.config import LoraConfig, OptimConfig
from loradrift.data import Collator, Splits
from loradrift.data.reconstruction import ContextRow, ContextSizes, Layout, encode_contexts
from loradrift.methods import make_trainable
from loradrift.models import load_backbone, load_tokenizer
from loradrift.tasks.prepared import PreparedData
from loradrift.tasks.reconstruction import ReconstructionConfig
from loradrift.tasks.reconstruction.building import build_task

LAYOUT = Layout(" was {question} ", "yes :")
WORDS = ["the", "film", "was", "great", "terrible", "no", "yes"]
SHOTS = "the film was great was film yes : great no the film was terrible yes the great film no "
"""Text that all rows begin with: more than 16 tokens of it."""

LORA = LoraConfig(name="lora", rank=2, alpha=4)


def drawn_rows(count: int, name: str = "row", shots: str = "") -> list[ContextRow]:
    """Contexts of 3 to 14 words that the small model knows, each twice; answers are of 1 to 3."""
    draw = Random(name)
    rows = []
    for number in range(count):
        if number % 2 == 0:
            words = draw.choices(WORDS, k=draw.randint(3, 14))
        start = draw.randrange(len(words))
        answer = " ".join(words[start : start + draw.randint(1, 3)])
        context = " ".join(words)
        question = " ".join(draw.choices(WORDS, k=draw.randint(1, 4)))
        end = len(context)
        rows.append(ContextRow(f"{name}/{number}", context, question, (answer,), end, shots))
    return rows


def settings(**changes) -> ReconstructionConfig:
    """A task's settings with small sizes."""
    small = {"num_latents": 4, "d_z": 6, "max_length": 64, "max_answer_tokens": 8}
    return ReconstructionConfig(
        name="reconstruction", max_steps=4, batch_size=8, **(small | changes)
    )


def encoded(model, rows, cache: Path):
    """A table of the rows."""
    return encode_contexts(rows, load_tokenizer(model), LAYOUT, ContextSizes(64, 40, 8), cache)


def prepared(model, cache: Path, shots: str = "") -> PreparedData:
    """40 training rows, 12 of each other split."""
    names = {"train": 40, "validation": 12, "evaluation": 12}
    splits = Splits(*(drawn_rows(count, name, shots) for name, count in names.items()))
    tables = [encoded(model, rows, cache) for rows in splits.rows]
    tokenizer = load_tokenizer(model)
    collate = Collator(tokenizer.pad_token_id, multiple=1)
    prints = {"base_model": "b" * 64, "train_rows": "r" * 64, "tokenization": "t" * 64}
    return PreparedData(model, tokenizer, splits, *tables, collate, None, None, prints, 0.0, cache)


def built(model, cache: Path, method=LORA, shots: str = "", **changes):
    """The task on an adapted backbone, in eval mode."""
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, method, seed=0)
    data = prepared(model, cache, shots)
    return build_task(backbone, settings(**changes), OptimConfig(), data, 0).eval()


def moved(task):
    """The task with LoRA's B drawn, so that the adapter changes something."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in task.model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=draw))
    return task


def some_batch(task, indices=range(8), split: str = "train"):
    """Rows of a split as one batch."""
    return task.data.collate(task.data.tables[split], indices)
