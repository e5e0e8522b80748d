"""Pooled rows against loops over tokens, whatever stands in the padding."""

import pytest
import torch
from probing import assert_equal, make_probe

from loradrift.activations import Pooling
from loradrift.activations.pooling import last, mean
from loradrift.config import UserError

ROWS = {"a": [1, 17, 5, 40, 2], "b": [1, 9, 2], "c": [1, 33, 33, 8, 21, 60, 2]}


def pooled(pooling, **options):
    """Pool the stream of ``ROWS`` whose vectors are (row number, position, token)."""
    probe = make_probe(ROWS, **options)
    rows, first = [], 0
    for batch, mask in zip(probe.batches, pooling.masks(probe), strict=True):
        ids = batch["input_ids"]
        row, position = torch.meshgrid(*(torch.arange(n) for n in ids.shape), indexing="ij")
        rows.append(pooling(torch.stack([row + first, position, ids], -1), mask))
        first += len(ids)
    return torch.cat(rows)


def test_rows_are_the_mean_or_the_last_of_the_content_tokens():
    means = torch.tensor([[0, 2, 62 / 3], [1, 1, 9], [2, 3, 155 / 5]])
    torch.testing.assert_close(pooled(Pooling("mean"), padding=2), means)
    last_tokens = torch.tensor([[0.0, 3, 40], [1, 1, 9], [2, 5, 60]])
    assert_equal(pooled(Pooling("last"), padding=2), last_tokens)


@pytest.mark.parametrize(("pool", "expected"), [(mean, [[2.0], [5.0]]), (last, [[3.0], [5.0]])])
def test_masked_tokens_may_be_nan(pool, expected):
    x = torch.tensor([[[1.0], [3.0], [float("nan")]], [[float("inf")], [5.0], [float("nan")]]])
    mask = torch.tensor([[True, True, False], [False, True, False]])
    assert torch.equal(pool(x, mask), torch.tensor(expected))


def test_mean_accumulates_in_float32():
    x = (1 + torch.rand(1, 1000, 4, generator=torch.Generator().manual_seed(0))).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = mean(x, torch.ones(1, 1000, dtype=torch.bool))
    torch.testing.assert_close(result.double(), x.double().mean(1), rtol=1e-6, atol=0)


def test_a_token_sample_depends_on_its_seed_alone():
    pooling, before = Pooling("tokens", max_tokens=4, seed=3), torch.get_rng_state()
    expected = pooled(pooling, batch_size=3)
    assert expected.shape == (4, 3)
    assert_equal(pooled(pooling, batch_size=1, padding=4), expected)
    assert not torch.equal(pooled(Pooling("tokens", max_tokens=4, seed=0)), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_token_sample_holds_distinct_content_tokens():
    everything = pooled(Pooling("tokens", max_tokens=100)).tolist()
    assert [token for *_, token in everything] == [17, 5, 40, 9, 33, 33, 8, 21, 60]
    sample = pooled(Pooling("tokens", max_tokens=5)).tolist()
    assert sample == [row for row in everything if row in sample]
    assert len(sample) == 5


def test_labels_differ_when_rows_do():
    tokens = Pooling("tokens"), Pooling("tokens", max_tokens=7), Pooling("tokens", seed=1)
    assert len({pooling.label for pooling in (Pooling("mean"), Pooling("last"), *tokens)}) == 5
    assert Pooling("mean", max_tokens=7).label == Pooling("mean").label == "mean"


def test_what_has_no_content_is_named():
    for name in ("mean", "last"):
        with pytest.raises(ValueError, match=r"without any content token .*\['hollow'\]"):
            Pooling(name).masks(make_probe(ROWS | {"hollow": [1, 2]}))
    with pytest.raises(ValueError, match="no content token, so tokens pooling finds nothing"):
        Pooling("tokens").masks(make_probe({"hollow": [1, 2]}))


def test_an_illegal_pooling_names_the_key():
    with pytest.raises(UserError, match="dump.pooling must be mean or last or tokens, got median"):
        Pooling("median")
    with pytest.raises(UserError, match="activation_dump.max_tokens must be positive, got 0"):
        Pooling("tokens", 0)
