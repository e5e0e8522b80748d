"""Batches are a pure function of rows, seed and position; tokens are cut and cached as told."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from loradrift.config import UserError
from loradrift.data import Collator, EvaluationBatches, Row, Share, TokenTable, TrainBatches
from loradrift.data.base import Example
from loradrift.data.tokens import tokenize, tokenize_documents, tokenize_examples


@pytest.fixture(scope="module")
def table() -> TokenTable:
    draw = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(draw.integers(3, 40, 103))])
    flat = draw.integers(4, 99, offsets[-1]).astype(np.int32)
    ids, flags = tuple(f"r/{i}" for i in range(103)), np.ones(len(flat), dtype=np.uint8)
    return TokenTable(ids, flat, offsets, np.arange(103) % 2, 0, flags)


COLLATE = Collator(pad_id=3)
FILM = Row("0", "a good film", None, 0)


def batches(table, batch_size=8, num_batches=30, seed=1, **changes):
    options = {"batch_size": batch_size, "num_batches": num_batches, "seed": seed}
    return TrainBatches(table, COLLATE, **options, **changes)


def indices(loader):
    return [batch["index"].tolist() for batch in loader]


def test_each_epoch_is_a_new_permutation_and_so_is_each_seed(table):
    order = indices(batches(table, num_batches=24))
    first, second = order[:12], order[12:]
    for epoch in (first, second):
        assert len(sum(epoch, [])) == len(set(sum(epoch, []))) == 96
    assert first != second
    assert indices(batches(table)) == indices(batches(table))
    assert indices(batches(table)) != indices(batches(table, seed=2))


@pytest.mark.parametrize("start", [0, 5, 12, 13, 29])
def test_a_resumed_run_sees_exactly_the_rest(table, start):
    resumed = batches(table)
    resumed.start = start
    assert indices(resumed) == indices(batches(table))[start:]
    assert len(resumed) == 30  # the length of the whole run


def test_processes_share_out_the_doubled_batch(table):
    halves = [indices(batches(table, batch_size=4, share=Share(rank, 2))) for rank in (0, 1)]
    whole = indices(batches(table))
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(b) for b in whole]
    with pytest.raises(UserError, match="must be at most the 103 training rows, got 208"):
        batches(table, batch_size=104, share=Share(0, 2))


def test_grouping_by_length_saves_padding_which_is_never_content(table):
    def padded_share(loader):
        masks = [batch["attention_mask"] for batch in loader]
        return 1 - sum(m.sum().item() for m in masks) / sum(m.numel() for m in masks)

    plain = batches(table, group_by_length=False)
    assert padded_share(batches(table)) < 0.5 * padded_share(plain)
    for batch in batches(table):
        assert not (batch["content_mask"] & ~batch["attention_mask"]).any()
        assert batch["input_ids"].dtype == torch.int64
        assert batch["input_ids"].shape[1] % 8 == 0


@pytest.mark.parametrize(("batch_size", "processes"), [(10, 2), (500, 3)])
def test_every_process_evaluates_something_and_all_see_every_row_once(table, batch_size, processes):
    shares = [Share(rank, processes) for rank in range(processes)]
    loaders = [EvaluationBatches(table, COLLATE, batch_size=batch_size, share=s) for s in shares]
    assert all(len(loader) for loader in loaders)
    assert sorted(sum(sum(map(indices, loaders), []), [])) == list(range(103))


def test_a_batch_is_padded_right_and_says_what_is_content(table):
    flat = np.array([1, 9, 2, 9, 1, 9], dtype=np.int32)
    flags = np.array([0, 1, 0, 1, 0, 1], dtype=np.uint8)
    rows = TokenTable(("a", "b"), flat, np.array([0, 4, 6]), np.array([0, 1]), 0, flags)
    batch = COLLATE(rows, [0, 1])
    assert batch["input_ids"].tolist() == [[1, 9, 2, 9, 3, 3, 3, 3], [1, 9, 3, 3, 3, 3, 3, 3]]
    assert batch["attention_mask"].sum(1).tolist() == [4, 2]
    assert batch["content_mask"].int().tolist() == [[0, 1, 0, 1, 0, 0, 0, 0], [0, 1] + [0] * 6]
    assert batch["labels"].tolist() == [0, 1]
    assert Collator(3, fixed_length=16)(rows, [0])["input_ids"].shape == (1, 16)
    assert Collator(3, multiple=1)(rows, [0, 1])["input_ids"].shape == (2, 4)


@pytest.fixture(scope="module")
def tokenizer(shared):
    return AutoTokenizer.from_pretrained(shared / "models" / "base-3M")


def ids_of(tokenizer, *texts):
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"]


def test_rows_become_bos_a_eos_b(tokenizer, tmp_path):
    row = Row("r", "one film", "two films", 1)
    table = tokenize([row, row._replace(pair=None)], tokenizer, 32, tmp_path)
    a, b = ids_of(tokenizer, row.text, row.pair)
    assert table.row(0).tolist() == [1, *a, 2, *b]
    assert table.row(1).tolist() == [1, *a]
    assert (table.ids, table.labels.tolist(), table.num_truncated) == (("r", "r"), [1, 1], 0)


def test_of_a_long_pair_the_longer_side_is_cut(tokenizer, tmp_path):
    long, short = "film " * 50, "a good film"
    rows = [Row("0", long, short, 0), Row("1", short, long, 0), Row("2", long, long, 0)]
    table = tokenize(rows, tokenizer, 20, tmp_path)
    kept = len(*ids_of(tokenizer, short))
    sides = [np.split(table.row(i)[1:], np.flatnonzero(table.row(i)[1:] == 2)) for i in range(3)]
    lengths = [(len(a), len(b) - 1) for a, b in sides]
    assert lengths == [(18 - kept, kept), (kept, 18 - kept), (9, 9)]
    assert table.num_truncated == 3


def test_tokens_come_from_the_cache_unless_it_is_damaged(tokenizer, tmp_path, monkeypatch):
    first = tokenize([FILM], tokenizer, 20, tmp_path).flat.tolist()
    [path] = (tmp_path / "tokens").glob("*.arrow")
    path.write_bytes(path.read_bytes()[:50])
    assert tokenize([FILM], tokenizer, 20, tmp_path).flat.tolist() == first
    monkeypatch.setattr("loradrift.data.tokens.token_ids", None)
    assert tokenize([FILM], tokenizer, 20, tmp_path).flat.tolist() == first
    with pytest.raises(TypeError):  # another length is another entry
        tokenize([FILM], tokenizer, 19, tmp_path)


def test_a_long_document_goes_on_in_further_rows(tokenizer, tmp_path):
    rows = [FILM, Row("1", "a good film about a bad film " * 3, None, 0)]
    table = tokenize_documents(rows, tokenizer, 16, tmp_path)
    texts = ids_of(tokenizer, *(row.text for row in rows))
    assert table.flat.tolist() == [1, *texts[0], 2, 1, *texts[1], 2]
    assert table.lengths.max() == 16
    assert table.row(0).tolist() == [1, *texts[0], 2]
    length = len(texts[0]) + 1  # a rest of one token is left out
    assert len(tokenize_documents([FILM], tokenizer, length, tmp_path).flat) == length


def test_a_prompt_stands_before_its_target_and_each_loses_its_far_end(tokenizer, tmp_path):
    prompt, target = "was it a good film", "a great film about a bad film"
    ids = ids_of(tokenizer, prompt, target)
    examples = [Example("x", prompt, target)]
    for _ in range(2):  # then from the cache
        whole = tokenize_examples(examples, tokenizer, 64, tmp_path)
        assert whole.row(0).tolist() == [1, *ids[0], *ids[1], 2]
        assert (whole.ids, whole.labels.tolist()) == (("x",), [1 + len(ids[0])])
    cut = tokenize_examples(examples, tokenizer, 10, tmp_path)
    begin, row = int(cut.labels[0]), cut.row(0).tolist()
    assert len(cut) == cut.num_truncated == 1 and len(row) == 9 and 1 < begin < 9
    assert row[1:begin] == ids[0][-(begin - 1) :]
    assert row[begin:] == ids[1][: 9 - begin]  # without the end, that none is learned there
