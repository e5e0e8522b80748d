"""The dump must land on the right steps and leave training exactly as it found it."""

import errno
import os
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from peft import LoraConfig, get_peft_model
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaModel

from loradrift.activations import (
    ActivationStore,
    Pooling,
    Probe,
    StoreError,
    capture_probe,
    pooling,
    row_sample,
)
from loradrift.activations.reader import ActivationReader
from loradrift.activations.row_file import RowFile
from loradrift.callbacks.activation_dump import ActivationDump
from loradrift.callbacks.online_drift import OnlineDrift
from loradrift.config import UserError

CPU = torch.device("cpu")


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


@pytest.fixture
def probe():
    ids = torch.tensor([[1, 5, 6, 7], [1, 9, 0, 0], [1, 30, 31, 0]])
    return Probe(
        ("a", "b", "c"),
        tuple(
            {"input_ids": part, "attention_mask": (part > 0).long(), "content_mask": part > 1}
            for part in ids.split(2)
        ),
    )


@pytest.fixture
def root(tmp_path):
    return tmp_path / "activations"


@pytest.fixture
def dump(root, probe):
    """A callback that writes every second step."""
    return ActivationDump(CountingStore(root), probe, 2, Pooling())


def assert_equal(rows, expected):
    torch.testing.assert_close(rows, expected, rtol=0, atol=0)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("every_n_steps", "steps"), [(2, [0, 2, 4, 5]), (5, [0, 5])])
def test_dumps_start_interval_and_end_once(dump, tmp_path, accumulate, every_n_steps, steps):
    dump.every_n_steps = every_n_steps
    fit(Task(), tmp_path, [dump], accumulate=accumulate)
    assert dump.store.written == dump.store.steps == steps
    shapes = {name: tuple(x_ND.shape) for name, x_ND in dump.store.read(5).items()}
    assert shapes == {"layer_0": (3, 32), "layer_1": (3, 32)}


def test_step_0_is_the_base_model_and_the_last_one_the_trained(dump, root, probe, tmp_path):
    base = capture_probe(Task("lora").backbone, probe, Pooling(), CPU).layers
    tuned = fit(Task("lora"), tmp_path, [dump]).backbone
    trained = capture_probe(tuned, probe, Pooling(), CPU).layers
    store = ActivationStore(root)
    assert_equal(store.read(0), base)
    assert_equal(store.read(5), trained)
    assert not torch.equal(base["layer_1"], trained["layer_1"])


@pytest.mark.parametrize("method", ["full_finetune", "lora"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_dumping_does_not_change_training(root, probe, tmp_path, method, accumulate):
    dump = ActivationDump(ActivationStore(root), probe, 1, Pooling("tokens", max_tokens=3))
    watched = fit(Task(method), tmp_path, [dump], accumulate=accumulate)
    generator = torch.get_rng_state()
    unwatched = fit(Task(method), tmp_path, accumulate=accumulate)
    assert torch.equal(torch.get_rng_state(), generator)
    assert_equal(watched.state_dict(), unwatched.state_dict())
    assert not torch.equal(watched.head.weight, Task(method).head.weight)
    assert watched.seen == unwatched.seen


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_token_rows_are_written_as_they_come(root, probe, tmp_path, dtype, monkeypatch):
    every_token, written = Pooling("tokens", max_tokens=None), []
    append = RowFile.append
    monkeypatch.setattr(
        RowFile, "append", lambda *args: written.append(len(args[2])) or append(*args)
    )
    store = ActivationStore(root, dtype=dtype)
    tuned = fit(Task(), tmp_path, [ActivationDump(store, probe, 5, every_token)]).backbone
    expected = capture_probe(tuned, probe, every_token, CPU).layers
    assert_equal(store.read(5), {k: x.to(getattr(torch, dtype)) for k, x in expected.items()})
    store.verify(5)
    assert store.num_rows(5) == 6
    assert written == [4, 4, 2, 2] * 2  # the largest block: one layer's rows of one batch
    for size in (1, 4, 100):
        rows = list(ActivationReader(root).read_rows(5, "layer_1", size))
        assert max(map(len, rows)) <= size and torch.equal(
            torch.cat(rows), store.read(5)["layer_1"]
        )


def test_a_step_of_token_rows_that_fails_leaves_the_old_one(root, probe):
    with ActivationStore(root, dtype="float16") as store:
        store.prepare(probe, Pooling("tokens", max_tokens=None), ["layer_0"])
        with store.writing(0, 2) as write:
            write("layer_0", torch.ones(2, 3))
        few, large = torch.zeros(1, 3), torch.full((2, 3), 1e6)
        message = r"must have 2 rows, got {'layer_0': 1}"
        with pytest.raises(ValueError, match=message), store.writing(0, 2) as write:
            write("layer_0", few)
        message = "layer_0 must fit into float16, got 1e"
        with pytest.raises(ValueError, match=message), store.writing(0, 2) as write:
            write("layer_0", large)
        assert store.read(0)["layer_0"].tolist() == [[1] * 3] * 2
    assert sorted(path.name for path in root.iterdir()) == [
        "manifest.json", "step=000000.safetensors"
    ]  # fmt: skip


def test_online_drift_of_many_tokens_is_of_a_sample(root, probe, tmp_path, monkeypatch):
    monkeypatch.setattr(pooling, "SAMPLE", 5)
    seen = []

    class Watching(OnlineDrift):
        def observe(self, step, layers):
            seen.append({name: len(rows) for name, rows in layers.items()})
            assert_equal(layers["layer_1"], store.read(step)["layer_1"][row_sample(6)])
            return super().observe(step, layers)

    store = ActivationStore(root)
    every_token = Pooling("tokens", max_tokens=None)
    fit(Task(), tmp_path, [ActivationDump(store, probe, 5, every_token, Watching())])
    assert seen == [{"layer_0": 5, "layer_1": 5}] * 2


def test_the_trainers_precision_is_used(dump, probe, tmp_path):
    task = fit(Task(), tmp_path, [dump], precision="bf16-mixed")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = capture_probe(task.backbone, probe, Pooling(), CPU).layers
    assert_equal(dump.store.read(5), expected)
    full = capture_probe(task.backbone, probe, Pooling(), CPU).layers
    assert not torch.equal(full["layer_1"], expected["layer_1"])


def test_only_rank_zero_writes(dump, root):
    trainer = SimpleNamespace(is_global_zero=False, global_step=0)
    dump.on_train_start(trainer, Task())
    dump.on_train_batch_end(trainer, Task(), None, None, 0)
    dump.on_train_end(trainer, Task())
    assert not root.exists()


def test_a_resumed_run_dumps_the_same_bytes(root, probe, tmp_path):
    def resumable(folder, *callbacks, **arguments):
        dump = ActivationDump(CountingStore(folder), probe, 1, Pooling())
        fit(Task("lora"), tmp_path, [Reseed(), dump, *callbacks], **arguments)
        return dump

    resumable(tmp_path / "whole")
    saving = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    with pytest.raises(KeyError, match="the power went"):
        resumable(root, saving, Crash())
    assert ActivationStore(root).steps == [0, 1, 2, 3]
    # The checkpoint of step 2 may be on disk while its dump is not, so it is dumped again.
    resumed = resumable(root, ckpt_path=tmp_path / "step=2.ckpt")
    assert resumed.store.written == [2, 3, 4, 5]
    for path in root.iterdir():
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes(), path.name


def test_nothing_written_is_lost_when_training_fails(dump, root, tmp_path):
    with pytest.raises(KeyError, match="the power went"):
        fit(Task(), tmp_path, [dump, Crash()])
    store = ActivationStore(root)
    assert store.steps == [0, 2]
    store.verify(2)


@pytest.fixture
def full_disk(monkeypatch):
    def failing(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", failing)


def test_a_full_disk_stops_training(dump, tmp_path, full_disk):
    with pytest.raises(StoreError, match=r"step=000000.safetensors could not be written"):
        fit(Task(), tmp_path, [dump])


def test_a_full_disk_does_not_mask_an_earlier_exception(dump, tmp_path, full_disk):
    with pytest.raises(KeyError, match="the power went") as caught:
        fit(Task(), tmp_path, [dump, Crash(0)])
    assert "step=000000.safetensors could not be written" in caught.value.__notes__[0]


def test_another_probe_in_the_same_store_stops_training(dump, root, probe, tmp_path):
    fit(Task(), tmp_path, [dump])
    other = ActivationDump(ActivationStore(root), probe, 2, Pooling("last"))
    with pytest.raises(ValueError, match="pooling must be mean, got last"):
        fit(Task(), tmp_path, [other])


def test_the_interval_must_be_positive(root, probe):
    message = "callbacks.activation_dump.every_n_steps must be positive, got 0"
    with pytest.raises(UserError, match=message):
        ActivationDump(ActivationStore(root), probe, 0, Pooling())
