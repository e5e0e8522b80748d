"""A tiny training for tests of the activation dump: a model, a task, and what may disturb them."""

import pytorch_lightning as pl
import torch
from peft import LoraConfig, get_peft_model
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaModel

from loradrift.activations import ActivationStore


class Backbone(nn.Module):
    """Two blocks with dropout, trained whole or by LoRA."""

    def __init__(self, method):
        super().__init__()
        llama = LlamaModel(
            LlamaConfig(
                vocab_size=64,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                attention_dropout=0.3,
            )
        )
        self.blocks = llama.layers
        lora = LoraConfig(r=4, lora_dropout=0.3, target_modules=["q_proj", "v_proj"])
        self.model = get_peft_model(llama, lora) if method == "lora" else llama

    def encode(self, input_ids):
        return self.model(input_ids=input_ids, use_cache=False).last_hidden_state


class Task(pl.LightningModule):
    """Binary classification of the mean token."""

    def __init__(self, method="full_finetune"):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = Backbone(method)
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


def fit(task, tmp_path, callbacks=(), *, accumulate=1, ckpt_path=None, **arguments):
    """Five optimizer steps on two batches of two rows, or on ``accumulate`` times as many."""
    pl.seed_everything(0)
    rows = [{"input_ids": torch.randint(64, (6,)), "label": i} for i in range(4 * accumulate)]
    # A resumed run would draw another order: Lightning does not restore the generator.
    loader = DataLoader(rows, batch_size=2, shuffle=Reseed not in map(type, callbacks))
    trainer = pl.Trainer(
        max_steps=5,
        accelerator="cpu",
        callbacks=list(callbacks),
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **arguments,
    )
    trainer.fit(task, loader, ckpt_path=ckpt_path)
    return task


def assert_equal(rows, expected):
    torch.testing.assert_close(rows, expected, rtol=0, atol=0)
