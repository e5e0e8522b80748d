"""The beginning-of-sequence token: one vector a layer, from which mean pooling can be undone."""

import json

import pytest
import torch

from loradrift.activations import ActivationStore, Pooling, capture_probe
from loradrift.models.hooks import block_outputs

CPU = torch.device("cpu")
LAYERS = ["layer_0", "layer_1"]


def streams(backbone, batch):
    """Every block's output (B, T, D) on one batch."""
    outputs = []
    with torch.no_grad(), block_outputs(backbone.blocks, lambda _, x_BTD: outputs.append(x_BTD)):
        backbone.eval().encode(batch["input_ids"])
    return outputs


def pooled_with_bos(layers, bos_LD, num_tokens):
    """The rows as they would be, had the first token been pooled too."""
    counts_N1 = torch.tensor(num_tokens)[:, None]
    return [
        (counts_N1 * x_ND + bos_D) / (counts_N1 + 1)
        for x_ND, bos_D in zip(layers.values(), bos_LD, strict=True)
    ]


def test_it_is_the_first_tokens_activation_and_an_ordinary_tensor(backbone, make_probe):
    probe = make_probe(batch_size=5)
    layers, bos_LD = capture_probe(backbone, probe, Pooling(), CPU)
    assert (list(layers), bos_LD.shape, bos_LD.dtype) == (LAYERS, (2, 32), torch.float32)
    assert not bos_LD.is_inference() and not bos_LD.requires_grad
    for x_BTD, bos_D in zip(streams(backbone, probe.batches[0]), bos_LD, strict=True):
        torch.testing.assert_close(x_BTD[:, 0], bos_D.expand(5, -1), rtol=1e-5, atol=1e-6)


def test_with_it_the_rows_pooled_including_it_come_back(backbone, make_probe):
    ours, everything = make_probe(), make_probe(content=(1, *range(3, 64)))
    layers, bos_LD = capture_probe(backbone, ours, Pooling(), CPU)
    direct, none = capture_probe(backbone, everything, Pooling(), CPU)
    assert none is None  # rows that begin with content have no special token to add
    for rebuilt_ND, x_ND in zip(
        pooled_with_bos(layers, bos_LD, ours.num_tokens), direct.values(), strict=True
    ):
        torch.testing.assert_close(rebuilt_ND, x_ND, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", [Pooling("last"), Pooling("tokens", max_tokens=4)])
def test_other_poolings_have_none(backbone, probe, pooling):
    assert capture_probe(backbone, probe, pooling, CPU).bos_LD is None


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ({"a": [1, 9], "b": [1, 8, 2]}, 1),
        ({"a": [5, 9], "b": [5, 8]}, None),  # content
        ({"a": [1, 9], "b": [2, 8]}, None),  # not the same
    ],
)
def test_a_probe_knows_the_special_token_that_begins_its_rows(make_probe, rows, found):
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


def test_a_store_without_it_is_read_and_continued(root, open_store, layers):
    with open_store() as written:
        written.write(0, layers())
    path = root / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["probe"]["num_tokens"]
    path.write_text(json.dumps(manifest))
    with open_store() as continued:
        continued.write(4, layers(1), torch.ones(2, 8))
    store = ActivationStore(root)
    assert (store.steps, store.read_bos(0)) == ([0, 4], None)
    assert torch.equal(store.read(0)["layer_1"], layers()["layer_1"])


def test_only_mean_pooling_counts_tokens(root, probe):
    store = ActivationStore(root)
    store.prepare(probe, Pooling("last"), LAYERS)
    assert "num_tokens" not in store.manifest["probe"]


@pytest.fixture(scope="module")
def real(shared):
    """A pretrained model and a batch of real sentences, with and without the first token."""
    from loradrift.activations import Probe
    from loradrift.config import ModelConfig
    from loradrift.data import Collator, tokenize
    from loradrift.data.glue import FORMATS, read_glue
    from loradrift.models import load_backbone, load_tokenizer

    config = ModelConfig(name="local", path=str(shared / "models" / "base-3M"))
    backbone, tokenizer = load_backbone(config, seed=0), load_tokenizer(config)
    rows = read_glue(shared, FORMATS["sst2"], "sst2", "dev")[:32]

    def probe(cache, special_ids):
        table = tokenize(rows, tokenizer, 128, cache)
        batch = Collator(tokenizer.pad_token_id, special_ids)(table, range(len(rows)))
        keys = ("input_ids", "attention_mask", "content_mask")
        return Probe(table.ids, ({key: batch[key] for key in keys},))

    return backbone, probe


def test_on_a_real_model_no_text_changes_the_first_token(real, tmp_path):
    backbone, make = real
    [batch] = make(tmp_path, (1, 2)).batches
    assert len({tuple(row) for row in batch["input_ids"].tolist()}) == 32
    for x_BTD in streams(backbone, batch):
        first_BD = x_BTD[:, 0]
        spread = (first_BD - first_BD[0]).abs().max() / first_BD.abs().max()
        assert spread < 1e-6
        assert (x_BTD[:, 1] - x_BTD[0, 1]).abs().max() / x_BTD[:, 1].abs().max() > 0.1


def test_on_a_real_model_pooling_with_the_first_token_is_rebuilt(real, tmp_path):
    backbone, make = real
    ours, everything = make(tmp_path, (1, 2)), make(tmp_path, (2,))
    layers, bos_LD = capture_probe(backbone, ours, Pooling(), CPU)
    direct = capture_probe(backbone, everything, Pooling(), CPU).layers
    for rebuilt_ND, x_ND in zip(
        pooled_with_bos(layers, bos_LD, ours.num_tokens), direct.values(), strict=True
    ):
        assert (rebuilt_ND - x_ND).norm() / x_ND.norm() < 1e-6
