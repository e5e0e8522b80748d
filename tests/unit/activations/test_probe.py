"""A probe is what it says, however it is padded and batched."""

import pytest
import torch

from loradrift.activations import Probe

ROWS = {"a": [1, 17, 5, 2], "b": [1, 9, 2], "c": [1, 33, 8]}


def batch(**changes):
    """Two rows, the second one padded."""
    tensors = {
        "input_ids": torch.tensor([[1, 5, 6], [1, 7, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
        "content_mask": torch.tensor([[False, True, True], [False, True, False]]),
    }
    return tensors | changes


@pytest.mark.parametrize(("batch_size", "padding"), [(1, 0), (2, 3), (3, 0), (3, 5)])
def test_fingerprint_ignores_padding_and_batching(make_probe, batch_size, padding):
    same = make_probe(ROWS, batch_size=batch_size, padding=padding)
    assert same.fingerprint == make_probe(ROWS).fingerprint
    assert len(same.fingerprint) == 64


def test_fingerprint_ignores_the_type_of_the_attention_mask():
    flags = batch(attention_mask=batch()["attention_mask"].bool())
    assert Probe(("a", "b"), (batch(),)).fingerprint == Probe(("a", "b"), (flags,)).fingerprint


def test_fingerprint_ignores_the_padding_token():
    other = batch(input_ids=torch.tensor([[1, 5, 6], [1, 7, 63]]))
    assert Probe(("a", "b"), (batch(),)).fingerprint == Probe(("a", "b"), (other,)).fingerprint


def test_fingerprint_sees_ids_tokens_order_and_content(make_probe):
    variants = [
        make_probe(ROWS),
        make_probe({"a": ROWS["a"], "b": ROWS["b"], "d": ROWS["c"]}),
        make_probe(ROWS | {"b": [1, 10, 2]}),
        make_probe({"b": ROWS["b"], "a": ROWS["a"], "c": ROWS["c"]}),
        make_probe(ROWS, content=(5, 8, 9, 33)),
        make_probe({"a": ROWS["a"], "b": ROWS["b"]}),
    ]
    assert len({probe.fingerprint for probe in variants}) == len(variants)


@pytest.mark.parametrize("ids", [("a",), ("a", "b", "c")])
def test_ids_must_align_with_the_rows(ids):
    with pytest.raises(ValueError, match=rf"ids must name every row .* {len(ids)} ids for 2 rows"):
        Probe(ids, (batch(),))


def test_a_probe_has_rows():
    with pytest.raises(ValueError, match="non-empty probe, got 0 ids for 0 rows"):
        Probe((), ())


def test_keys_are_named():
    with pytest.raises(ValueError, match=r"batches\[0\] must have the keys .* got \['labels'\]"):
        Probe(("a",), ({"labels": torch.ones(1)},))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content_mask": torch.ones(2, 2, dtype=torch.bool)}, r"one shape \(B, T\), got .*2, 2"),
        ({"input_ids": torch.ones(2, 3)}, "input_ids must be one of .*int64.*, got torch.float32"),
        ({"attention_mask": torch.ones(2, 3)}, "attention_mask must be one of .*got torch.float32"),
        ({"content_mask": torch.ones(2, 3).long()}, "content_mask must be .*bool.*got torch.int64"),
        ({"attention_mask": torch.tensor([[1, 1, 1], [0, 1, 1]])}, "row 'b' must be right-padded"),
        ({"content_mask": torch.ones(2, 3, dtype=torch.bool)}, "row 'b' marks padding as content"),
    ],
)
def test_a_malformed_batch_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Probe(("a", "b"), (batch(**changes),))


def test_rows_are_named_in_later_batches_too():
    bad = batch(content_mask=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="row 'd' marks padding"):
        Probe(("a", "b", "c", "d"), (batch(), bad))
