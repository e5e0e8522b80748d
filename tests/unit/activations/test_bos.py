"""The beginning-of-sequence token: one vector a layer, from which mean pooling can be undone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from probing import make_probe

from loradrift.activations import ActivationStore, Pooling, Probe, capture_probe
from loradrift.activations.probe import KEYS
from loradrift.models.hooks import block_outputs

CPU = torch.device("cpu")
LAYERS = ["layer_0", "layer_1"]


def streams(backbone, batch):
    """Every block's output (B, T, D) on one batch."""
    outputs = []
    with torch.no_grad(), block_outputs(backbone.blocks, lambda _, x_BTD: outputs.append(x_BTD)):
        backbone.eval().encode(batch["input_ids"])
    return outputs


def rebuilt_and_direct(backbone, ours, everything):
    """Each layer's rows with the first token added afterwards, and pooled with it at once."""
    layers, bos_LD = capture_probe(backbone, ours, Pooling(), CPU)
    direct, none = capture_probe(backbone, everything, Pooling(), CPU)
    assert none is None  # rows that begin with content have no special token to add
    counts_N1 = torch.tensor(ours.num_tokens)[:, None]
    for name, bos_D in zip(layers, bos_LD, strict=True):
        yield (counts_N1 * layers[name] + bos_D) / (counts_N1 + 1), direct[name]


def test_it_is_the_first_tokens_activation_and_an_ordinary_tensor(backbone):
    probe = make_probe(batch_size=5)
    layers, bos_LD = capture_probe(backbone, probe, Pooling(), CPU)
    assert (list(layers), bos_LD.shape, bos_LD.dtype) == (LAYERS, (2, 32), torch.float32)
    assert not bos_LD.is_inference() and not bos_LD.requires_grad
    for x_BTD, bos_D in zip(streams(backbone, probe.batches[0]), bos_LD, strict=True):
        torch.testing.assert_close(x_BTD[:, 0], bos_D.expand(5, -1), rtol=1e-5, atol=1e-6)


def test_with_it_the_rows_pooled_including_it_come_back(backbone):
    everything = make_probe(content=(1, *range(3, 64)))
    for rebuilt_ND, x_ND in rebuilt_and_direct(backbone, make_probe(), everything):
        torch.testing.assert_close(rebuilt_ND, x_ND, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", [Pooling("last"), Pooling("tokens", max_tokens=4)])
def test_other_poolings_have_none_and_count_no_tokens(backbone, probe, root, pooling):
    assert capture_probe(backbone, probe, pooling, CPU).bos_LD is None
    store = ActivationStore(root)
    store.prepare(probe, pooling, LAYERS)
    assert "num_tokens" not in store.manifest["probe"]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ({"a": [1, 9], "b": [1, 8, 2]}, 1),
        ({"a": [5, 9], "b": [5, 8]}, None),  # content
        ({"a": [1, 9], "b": [2, 8]}, None),  # not the same
    ],
)
def test_a_probe_knows_the_special_token_that_begins_its_rows(rows, found):
    assert make_probe(rows, batch_size=1).bos_id == found


def test_it_is_stored_beside_the_layers_in_float32(root, open_store, layers):
    bos_LD = torch.tensor([[1.0] * 8, [-70000.0] * 8])  # more than float16 holds
    with open_store(dtype="float16") as written:
        written.write(0, layers(), bos_LD)
        written.write(4, layers())
    store = ActivationStore(root)
    assert torch.equal(store.read_bos(0), bos_LD)
    assert store.read_bos(4) is None
    assert list(store.read(0)) == LAYERS
    assert store.manifest["steps"]["0"]["shapes"]["bos"] == [2, 8]
    store.verify(0)


def test_a_store_without_it_is_read_and_continued(root, stored, open_store, layers):
    path = root / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["probe"]["num_tokens"]
    path.write_text(json.dumps(manifest))
    with open_store() as continued:
        continued.write(4, layers(1), torch.ones(2, 8))
    store = ActivationStore(root)
    assert (store.steps, store.read_bos(0)) == ([0, 4], None)
    assert torch.equal(store.read(0)["layer_1"], layers()["layer_1"])


def test_on_a_real_model_no_text_changes_it_and_pooling_with_it_is_rebuilt(shared, tmp_path):
    from loradrift.config import ModelConfig
    from loradrift.data import Collator, tokenize
    from loradrift.data.glue import FORMATS, read_glue
    from loradrift.models import load_backbone, load_tokenizer

    config = ModelConfig(name="local", path=str(shared / "models" / "base-3M"))
    backbone, tokenizer = load_backbone(config, seed=0), load_tokenizer(config)
    rows = read_glue(shared, FORMATS["sst2"], "sst2", "dev")[:32]
    table = tokenize(rows, tokenizer, 128, tmp_path)
    with_bos = replace(table, text_flags=np.ones_like(table.text_flags))

    def probe(table):
        batch = Collator(tokenizer.pad_token_id)(table, range(len(rows)))
        return Probe(table.ids, ({key: batch[key] for key in KEYS},))

    [batch] = probe(table).batches
    assert len({tuple(row) for row in batch["input_ids"].tolist()}) == 32
    for x_BTD in streams(backbone, batch):
        first_BD, second_BD = x_BTD[:, 0], x_BTD[:, 1]
        assert (first_BD - first_BD[0]).abs().max() / first_BD.abs().max() < 1e-6
        assert (second_BD - second_BD[0]).abs().max() / second_BD.abs().max() > 0.1
    for rebuilt_ND, x_ND in rebuilt_and_direct(backbone, probe(table), probe(with_bos)):
        assert (rebuilt_ND - x_ND).norm() / x_ND.norm() < 1e-6
