"""The pooling proves itself, and a pooling that sees padding or special tokens does not pass."""

import pytest
import torch

from loradrift.activations import pooling
from loradrift.analysis.self_check.tables import pooling_self_check
from loradrift.similarity import SelfCheckError, raise_failed


def test_every_pooling_holds():
    proofs = pooling_self_check(seed=3)
    raise_failed(proofs)
    assert [proof.measure for proof in proofs] == [f"pooling: {name}" for name in pooling.POOLINGS]


FAULTS = {
    "padding is pooled": lambda x, mask: x.nan_to_num().float().mean(1),
    "a product with the mask": lambda x, mask: (x * mask[..., None]).sum(1) / mask.sum(1)[:, None],
    "the first token is pooled": lambda x, m: pooling.mean(x, m | (torch.arange(x.shape[1]) < 1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_pooling_is_caught(fault, monkeypatch):
    monkeypatch.setitem(pooling.POOLINGS, "mean", FAULTS[fault])
    with pytest.raises(SelfCheckError, match="pooling: mean: difference after padding"):
        raise_failed(pooling_self_check())
