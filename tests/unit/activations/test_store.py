"""What is written is read again, in the background and layer by layer; a store can be continued."""

import hashlib
import json
import threading

import pytest
import torch
from safetensors import safe_open

from loradrift.activations import ActivationStore, Pooling, StoreError, reader
from loradrift.config import UserError

LAYERS = ["layer_0", "layer_1"]


def test_what_is_written_is_read(root, open_store, layers):
    with open_store() as written:
        written.write(0, layers(0))
        written.write(100, layers(1))
    read = ActivationStore(root)
    assert read.steps == [0, 100]
    assert read.layer_names == LAYERS
    for step, seed in ((0, 0), (100, 1)):
        torch.testing.assert_close(read.read(step), layers(seed), rtol=0, atol=0)
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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_dtype_is_kept(root, open_store, dtype, layers):
    with open_store(dtype=dtype) as written:
        written.write(0, layers())
    for name, x in ActivationStore(root).read(0).items():
        assert torch.equal(x, layers()[name].to(getattr(torch, dtype)))


def test_a_value_beyond_the_dtype_is_an_error(open_store, layers):
    big = layers() | {"layer_1": torch.tensor([[1.0, -70000.0, float("inf")]])}
    with open_store(dtype="float16") as written:
        message = r"layer_1 at step 7 must fit into float16, got 70000: .* bfloat16 or float32"
        with pytest.raises(ValueError, match=message):
            written.write(7, big)
        written.write(8, layers() | {"layer_1": torch.tensor([[float("nan"), float("inf")]])})
        written.flush()
        assert written.steps == [8]


def test_tensors_may_change_after_write(root, open_store, gate, layers):
    given = layers()
    with open_store() as written:
        written.write(0, given)
        given["layer_0"].zero_()
        gate.set()
    assert torch.equal(ActivationStore(root).read(0)["layer_0"], layers()["layer_0"])


def test_a_strided_view_is_stored_as_it_looks(root, open_store, layers):
    views = {name: x.T for name, x in layers().items()}
    with open_store() as written:
        written.write(0, views)
    assert torch.equal(ActivationStore(root).read(0)["layer_1"], layers()["layer_1"].T)


def test_write_waits_while_the_queue_is_full(open_store, gate, layers):
    written, started, done = open_store(queue_size=2), threading.Event(), threading.Event()
    written.write(0, layers())
    written.write(1, layers())

    def third():
        started.set()
        written.write(2, layers())
        done.set()

    thread = threading.Thread(target=third)
    thread.start()
    assert started.wait(5)
    assert not done.wait(0.2)
    assert written.steps == []
    gate.set()
    assert done.wait(5)
    thread.join()
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


def test_only_the_layer_asked_for_is_fetched(root, open_store, monkeypatch, layers):
    with open_store() as written:
        written.write(0, layers())
    fetched = []

    class Watched:
        def __init__(self, *args, **kwargs):
            self.file = safe_open(*args, **kwargs)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            self.file.__exit__(*error)

        def get_tensor(self, name):
            fetched.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr(reader, "safe_open", Watched)
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    read = ActivationStore(root).read(0, ["layer_1"])
    assert (list(read), fetched) == (["layer_1"], ["layer_1"])
    assert torch.equal(read["layer_1"], layers()["layer_1"])


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


def test_another_dump_is_not_continued(root, open_store, make_probe, layers):
    with open_store() as written:
        written.write(0, layers())
    other = ActivationStore(root, dtype="bfloat16")
    message = (
        "holds other activations: probe fingerprint must be .*pooling must be mean, got last; "
        r"dtype must be float32, got bfloat16; layers must be \['layer_0', 'layer_1'\], got \['x'\]"
    )
    with pytest.raises(ValueError, match=message):
        other.prepare(make_probe({"z": [1, 5]}), Pooling("last"), ["x"])
    with pytest.raises(ValueError, match=r"activations: dtype must be float32, got bfloat16$"):
        other.prepare(make_probe(), Pooling("mean"), LAYERS)


def test_a_missing_step_names_the_ones_there_are(open_store, layers):
    with open_store() as written:
        written.write(0, layers())
    for access in (written.read, written.verify):
        with pytest.raises(FileNotFoundError, match=r"step 7 is not in .* have \[0\]"):
            access(7)


def test_an_unknown_layer_names_the_ones_there_are(open_store, layers):
    with open_store() as written:
        written.write(0, layers())
    with pytest.raises(ValueError, match=r"has the layers .*'layer_1'\], got \['layer_9'\]"):
        written.read(0, ["layer_9"])


def test_write_takes_the_layers_prepared_for(open_store):
    with open_store() as written, pytest.raises(ValueError, match=r"step 3 must have .* got \[\]"):
        written.write(3, {})


def test_write_needs_prepare(root, layers):
    with pytest.raises(StoreError, match="must be prepared before step 3 is written"):
        ActivationStore(root).write(3, layers())
    assert not root.exists()


def test_a_folder_without_a_store_says_so(root):
    with pytest.raises(StoreError, match=r"manifest.json does not exist"):
        ActivationStore(root).read(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, "activation_dump.dtype must be float16 or .* got int8"),
        ({"queue_size": 0}, "queue_size must be positive, got 0"),
    ],
)
def test_an_illegal_argument_is_named(root, arguments, message):
    with pytest.raises(UserError, match=message):
        ActivationStore(root, **arguments)
