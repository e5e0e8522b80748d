"""The dump must land on the right steps and leave training exactly as it found it."""

from types import SimpleNamespace

import pytest
import torch
from dumping import CountingStore, Crash, Reseed, Task, fit
from probing import assert_equal, captured, fill_disk
from pytorch_lightning.callbacks import ModelCheckpoint

from loradrift.activations import ActivationStore, Pooling, StoreError
from loradrift.callbacks.activation_dump import ActivationDump
from loradrift.config import UserError


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("every_n_steps", "steps"), [(2, [0, 2, 4, 5]), (5, [0, 5])])
def test_dumps_start_interval_and_end_once(dump, tmp_path, accumulate, every_n_steps, steps):
    dump.every_n_steps = every_n_steps
    fit(Task(), tmp_path, [dump], accumulate=accumulate)
    assert dump.store.written == dump.store.steps == steps
    shapes = {name: tuple(x_ND.shape) for name, x_ND in dump.store.read(5).items()}
    assert shapes == {"layer_0": (3, 32), "layer_1": (3, 32)}


def test_step_0_is_the_base_model_and_the_last_one_the_trained(dump, root, probe, tmp_path):
    base = captured(Task("lora").backbone, probe)
    tuned = fit(Task("lora"), tmp_path, [dump]).backbone
    trained = captured(tuned, probe)
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


def test_the_trainers_precision_is_used(dump, probe, tmp_path):
    task = fit(Task(), tmp_path, [dump], precision="bf16-mixed")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = captured(task.backbone, probe)
    assert_equal(dump.store.read(5), expected)
    full = captured(task.backbone, probe)
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
        resumable(root, saving, Crash(), enable_checkpointing=True)
    # Nothing written is lost when training fails.
    assert ActivationStore(root).steps == [0, 1, 2, 3]
    ActivationStore(root).verify(3)
    # The checkpoint of step 2 may be on disk while its dump is not, so it is dumped again.
    resumed = resumable(root, ckpt_path=tmp_path / "step=2.ckpt")
    assert resumed.store.written == [2, 3, 4, 5]
    for path in root.iterdir():
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes(), path.name


def test_a_full_disk_stops_training_but_masks_no_earlier_error(dump, tmp_path, monkeypatch):
    fill_disk(monkeypatch)
    with pytest.raises(StoreError, match=r"step=000000.safetensors could not be written"):
        fit(Task(), tmp_path, [dump])
    dump = ActivationDump(ActivationStore(tmp_path / "again"), dump.probe, 2, Pooling())
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
