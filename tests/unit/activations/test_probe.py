"""A probe is what it says, however it is padded and batched."""

import pytest
import torch
from probing import make_probe

from loradrift.activations import Probe

ROWS = {"a": [1, 17, 5, 2], "b": [1, 9, 2], "c": [1, 33, 8]}
ALL = torch.ones(2, 3, dtype=torch.bool)


def batch(**changes):
    """Two rows, the second one padded."""
    tensors = {
        "input_ids": torch.tensor([[1, 5, 6], [1, 7, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
        "content_mask": torch.tensor([[False, True, True], [False, True, False]]),
    }
    return tensors | changes


@pytest.mark.parametrize(("batch_size", "padding"), [(1, 0), (2, 3), (3, 0), (3, 5)])
def test_fingerprint_ignores_padding_and_batching(batch_size, padding):
    same = make_probe(ROWS, batch_size=batch_size, padding=padding)
    assert same.fingerprint == make_probe(ROWS).fingerprint
    assert len(same.fingerprint) == 64


def test_fingerprint_ignores_the_padding_token_and_the_type_of_the_attention_mask():
    flags = batch(attention_mask=batch()["attention_mask"].bool())
    other = batch(input_ids=torch.tensor([[1, 5, 6], [1, 7, 63]]))
    assert len({Probe(("a", "b"), (same,)).fingerprint for same in (batch(), flags, other)}) == 1


def test_fingerprint_sees_ids_tokens_order_and_content():
    variants = [
        make_probe(ROWS),
        make_probe({"a": ROWS["a"], "b": ROWS["b"], "d": ROWS["c"]}),
        make_probe(ROWS | {"b": [1, 10, 2]}),
        make_probe({"b": ROWS["b"], "a": ROWS["a"], "c": ROWS["c"]}),
        make_probe(ROWS, content=(5, 8, 9, 33)),
        make_probe({"a": ROWS["a"], "b": ROWS["b"]}),
    ]
    assert len({probe.fingerprint for probe in variants}) == len(variants)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content_mask": ALL[:, :2]}, r"one shape \(B, T\), got .*2, 2"),
        ({"input_ids": torch.ones(2, 3)}, "input_ids must be one of .*int64.*, got torch.float32"),
        ({"attention_mask": torch.ones(2, 3)}, "attention_mask must be one of .*got torch.float32"),
        ({"content_mask": ALL.long()}, "content_mask must be .*bool.*got torch.int64"),
        ({"attention_mask": torch.tensor([[1, 1, 1], [0, 1, 1]])}, "row 'b' must be right-padded"),
        ({"content_mask": ALL}, "row 'b' marks padding as content"),
    ],
)
def test_a_malformed_batch_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Probe(("a", "b"), (batch(**changes),))


@pytest.mark.parametrize(
    ("ids", "batches", "message"),
    [
        ("a", [batch()], "ids must name every row .* 1 ids for 2 rows"),
        ("abc", [batch()], "ids must name every row .* 3 ids for 2 rows"),
        ("", [], "non-empty probe, got 0 ids for 0 rows"),
        ("a", [{"labels": ALL}], r"batches\[0\] must have the keys .* got \['labels'\]"),
        ("abcd", [batch(), batch(content_mask=ALL)], "row 'd' marks padding"),
    ],
)
def test_ids_and_batches_must_align(ids, batches, message):
    with pytest.raises(ValueError, match=message):
        Probe(tuple(ids), tuple(batches))
