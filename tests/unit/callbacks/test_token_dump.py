"""Token rows are written as they come, whole or not at all, and sampled for online drift."""

import pytest
import torch
from dumping import Task, fit
from probing import assert_equal, captured

from loradrift.activations import ActivationStore, Pooling, pooling, row_sample
from loradrift.activations.reader import ActivationReader
from loradrift.activations.row_file import RowFile
from loradrift.callbacks.activation_dump import ActivationDump
from loradrift.callbacks.online_drift import OnlineDrift


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_token_rows_are_written_as_they_come(root, probe, tmp_path, dtype, monkeypatch):
    every_token, written = Pooling("tokens", max_tokens=None), []
    append = RowFile.append
    monkeypatch.setattr(
        RowFile, "append", lambda *args: written.append(len(args[2])) or append(*args)
    )
    store = ActivationStore(root, dtype=dtype)
    tuned = fit(Task(), tmp_path, [ActivationDump(store, probe, 5, every_token)]).backbone
    expected = captured(tuned, probe, every_token)
    assert_equal(store.read(5), {k: x.to(getattr(torch, dtype)) for k, x in expected.items()})
    store.verify(5)
    assert store.num_rows(5) == 6
    assert written == [4, 4, 2, 2] * 2  # the largest block: one layer's rows of one batch
    for size in (1, 4, 100):
        rows = list(ActivationReader(root).read_rows(5, "layer_1", size))
        assert max(map(len, rows)) <= size
        assert_equal(torch.cat(rows), store.read(5)["layer_1"])


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
