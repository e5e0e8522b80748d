"""What is written is read again, in the background and layer by layer; a store can be continued."""

import hashlib
import json
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from probing import assert_equal, make_probe
from safetensors import safe_open

from loradrift.activations import ActivationStore, Pooling, StoreError, reader
from loradrift.config import UserError

LAYERS = ["layer_0", "layer_1"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_is_written_is_read_in_its_dtype(root, open_store, layers, dtype):
    with open_store(dtype=dtype) as written:
        written.write(0, layers(0))
        written.write(100, layers(1))
    read = ActivationStore(root)
    assert read.steps == [0, 100]
    assert read.layer_names == LAYERS
    for step, seed in ((0, 0), (100, 1)):
        expected = {name: x_ND.to(getattr(torch, dtype)) for name, x_ND in layers(seed).items()}
        assert_equal(read.read(step), expected)
        read.verify(step)


def test_the_manifest_describes_the_files(root, open_store, probe, layers):
    with open_store(dtype="float16") as written:
        written.write(100, layers())
        written.write(20, layers())
    data = (root / "step=000100.safetensors").read_bytes()
    shard = {
        "file": "step=000100.safetensors",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "shapes": {"layer_0": [5, 8], "layer_1": [5, 8]},
    }
    record = json.loads((root / "manifest.json").read_text())
    assert list(record["steps"]) == ["20", "100"]
    assert record.pop("steps")["100"] == shard
    assert record == {
        "schema_version": 1,
        "probe": {
            "fingerprint": probe.fingerprint,
            "ids": ["a", "b", "c", "d", "e"],
            "num_tokens": [3, 1, 5, 1, 3],
        },
        "pooling": "mean",
        "dtype": "float16",
        "layers": LAYERS,
    }
    names = {path.name for path in root.iterdir()}
    assert names == {"manifest.json", "step=000020.safetensors", "step=000100.safetensors"}


def test_a_value_beyond_the_dtype_is_an_error(open_store, layers):
    big = layers() | {"layer_1": torch.tensor([[1.0, -70000.0, float("inf")]])}
    with open_store(dtype="float16") as written:
        message = r"layer_1 at step 7 must fit into float16, got 70000: .* bfloat16 or float32"
        with pytest.raises(ValueError, match=message):
            written.write(7, big)
        written.write(8, layers() | {"layer_1": torch.tensor([[float("nan"), float("inf")]])})
        written.flush()
        assert written.steps == [8]


def test_tensors_may_change_after_write_and_views_are_stored_as_they_look(open_store, gate, layers):
    given = layers() | {"layer_1": layers()["layer_1"].T}
    expected = {name: x.clone() for name, x in given.items()}
    with open_store() as written:
        written.write(0, given)
        given["layer_0"].zero_()
        gate.set()
    assert_equal(written.read(0), expected)


def test_write_waits_while_the_queue_is_full(open_store, gate, layers):
    written = open_store(queue_size=2)
    written.write(0, layers())
    written.write(1, layers())
    third = threading.Thread(target=written.write, args=(2, layers()))
    third.start()
    third.join(0.2)
    assert third.is_alive()
    assert written.steps == []
    gate.set()
    third.join(5)
    assert not third.is_alive()
    written.close()
    assert written.steps == [0, 1, 2]


def test_only_writing_starts_a_thread_and_close_ends_it(root, open_store, layers):
    def num_threads():
        return sum(thread.name.startswith("activation-store") for thread in threading.enumerate())

    written = open_store()
    assert num_threads() == 0
    written.write(0, layers())
    assert num_threads() == 1
    written.close()
    written.close()
    ActivationStore(root).read(0)
    assert num_threads() == 0


def test_only_the_layer_asked_for_is_fetched(root, stored, monkeypatch, layers):
    fetched = []

    @contextmanager
    def watched(*args, **kwargs):
        with safe_open(*args, **kwargs) as file:
            get = file.get_tensor
            yield SimpleNamespace(get_tensor=lambda name: fetched.append(name) or get(name))

    monkeypatch.setattr(reader, "safe_open", watched)
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    read = ActivationStore(root).read(0, ["layer_1"])
    assert fetched == ["layer_1"]
    assert_equal(read, {"layer_1": layers()["layer_1"]})


def test_a_store_is_continued_and_a_step_replaced(root, open_store, layers):
    for seed in (0, 1):
        with open_store() as written:
            written.write(10 * seed, layers(seed))
            written.write(20, layers(seed))
    read = ActivationStore(root)
    assert read.steps == [0, 10, 20]
    for step, seed in ((0, 0), (10, 1), (20, 1)):
        read.verify(step)
        assert torch.equal(read.read(step)["layer_0"], layers(seed)["layer_0"])


def test_another_dump_is_not_continued(root, stored):
    other = ActivationStore(root, dtype="bfloat16")
    message = (
        "holds other activations: probe fingerprint must be .*pooling must be mean, got last; "
        r"dtype must be float32, got bfloat16; layers must be \['layer_0', 'layer_1'\], got \['x'\]"
    )
    with pytest.raises(ValueError, match=message):
        other.prepare(make_probe({"z": [1, 5]}), Pooling("last"), ["x"])
    with pytest.raises(ValueError, match=r"activations: dtype must be float32, got bfloat16$"):
        other.prepare(make_probe(), Pooling("mean"), LAYERS)


def test_an_unknown_step_or_layer_names_the_ones_there_are(stored):
    for access in (stored.read, stored.verify):
        with pytest.raises(FileNotFoundError, match=r"step 7 is not in .* have \[0\]"):
            access(7)
    with pytest.raises(ValueError, match=r"has the layers .*'layer_1'\], got \['layer_9'\]"):
        stored.read(0, ["layer_9"])
    with pytest.raises(ValueError, match=r"step 3 must have .* got \[\]"):
        stored.write(3, {})


def test_a_folder_without_a_store_is_not_read_and_must_be_prepared(root, layers):
    with pytest.raises(StoreError, match="must be prepared before step 3 is written"):
        ActivationStore(root).write(3, layers())
    assert not root.exists()
    with pytest.raises(StoreError, match=r"manifest.json does not exist"):
        ActivationStore(root).read(0)


def test_an_illegal_argument_is_named(root):
    with pytest.raises(UserError, match="activation_dump.dtype must be float16 or .* got int8"):
        ActivationStore(root, dtype="int8")
    with pytest.raises(UserError, match="queue_size must be positive, got 0"):
        ActivationStore(root, queue_size=0)
