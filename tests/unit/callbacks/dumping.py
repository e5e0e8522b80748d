"""A tiny training for tests of callbacks: a task, its trainer, and what may disturb them."""

import pytorch_lightning as pl
import torch
from probing import small_backbone
from torch import nn
from torch.utils.data import DataLoader

from loradrift.activations import ActivationStore


class Task(pl.LightningModule):
    """Binary classification of the mean token."""

    def __init__(self, method="full_finetune"):
        super().__init__()
        self.backbone = small_backbone(method)
        self.head = nn.Linear(32, 2)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen += batch["label"].tolist()
        x_BTD = self.backbone.encode(batch["input_ids"])
        return nn.functional.cross_entropy(self.head(x_BTD.mean(1)), batch["label"] % 2)

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-2)


class Crash(pl.Callback):
    """Raises when the first batch after ``step`` starts."""

    def __init__(self, step=3):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise KeyError("the power went")


class Reseed(pl.Callback):
    """Makes each step a function of the weights and the data."""

    def on_train_batch_start(self, trainer, *_):
        torch.manual_seed(trainer.global_step)


class CountingStore(ActivationStore):
    """Remembers every write, including overwrites."""

    def __init__(self, root):
        super().__init__(root)
        self.written = []

    def write(self, step, layers, bos_LD=None):
        self.written.append(step)
        super().write(step, layers, bos_LD)


def run_trainer(task, loader, tmp_path, callbacks, ckpt_path=None, **options):
    """Fit ``task`` to the batches, with nothing but the callbacks; gives the trainer."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = dict.fromkeys(off, False) | {"callbacks": list(callbacks)} | options
    trainer = pl.Trainer(accelerator="cpu", default_root_dir=tmp_path, **options)
    trainer.fit(task, loader, ckpt_path=ckpt_path)
    return trainer


def fit(task, tmp_path, callbacks=(), *, accumulate=1, **options):
    """Five optimizer steps on two batches of two rows, or on ``accumulate`` times as many."""
    pl.seed_everything(0)
    rows = [{"input_ids": torch.randint(64, (6,)), "label": i} for i in range(4 * accumulate)]
    # A resumed run would draw another order: Lightning does not restore the generator.
    loader = DataLoader(rows, batch_size=2, shuffle=Reseed not in map(type, callbacks))
    options |= {"max_steps": 5, "accumulate_grad_batches": accumulate}
    run_trainer(task, loader, tmp_path, callbacks, **options)
    return task
