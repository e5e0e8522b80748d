"""The official files, with their quirks, and each way in which one can be wrong."""

from collections import Counter

import pytest

from loradrift.config import UserError
from loradrift.data import FORMATS, Row, load_glue
from loradrift.data.glue import read_glue
from loradrift.data.splits import split_rows

MRPC_HEADER = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_byte_order_mark_and_quotes_are_data(tmp_path):
    write(tmp_path, "MRPC/dev.tsv", MRPC_HEADER + '1\t7\t8\t" He said " so .\tIt is "so .\n')
    assert read_glue(tmp_path, FORMATS["mrpc"], "mrpc", "dev") == [
        Row("mrpc/dev/0", '" He said " so .', 'It is "so .', 1)
    ]


def test_rte_labels_are_words(tmp_path):
    rows = "0\ta\tb\tnot_entailment\n1\tc\td\tentailment\n"
    write(tmp_path, "glue/RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n" + rows)
    assert [row.label for row in read_glue(tmp_path, FORMATS["rte"], "rte", "dev")] == [1, 0]


def test_trailing_spaces_go_and_odd_line_breaks_stay(tmp_path):
    write(tmp_path, "SST-2/train.tsv", "sentence\tlabel\nfine\u2028film \t1\r\n\n")
    assert read_glue(tmp_path, FORMATS["sst2"], "sst2", "train") == [
        Row("sst2/train/0", "fine\u2028film", None, 1)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\tlabel\na\t1\n", r"train.tsv, line 1: no column sentence in text, label"),
        ("sentence\tlabel\na\t1\nb\n", r"line 3: expected 2 tab-separated cells, got 1"),
        ("sentence\tlabel\na\t2\n", r"line 2: the label must be 0 or 1, got 2"),
        ("sentence\tlabel\n", r"train.tsv holds no rows"),
        ("sentence\tlabel\na\t1\n \t1\n", r"line 3: a sentence is empty"),
        ("", r"train.tsv is empty"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path, text, message):
    write(tmp_path, "SST-2/train.tsv", text)
    with pytest.raises(UserError, match=message):
        read_glue(tmp_path, FORMATS["sst2"], "sst2", "train")


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"SST-2/dev.tsv is missing: data.root must hold"):
        read_glue(tmp_path, FORMATS["sst2"], "sst2", "dev")
    path = write(tmp_path, "SST-2/dev.tsv", "")
    path.write_bytes(b"sentence\tlabel\na\t1\n\xff\xfe\x00\t1\n")
    with pytest.raises(UserError, match=r"SST-2/dev.tsv, line 3: not UTF-8 text"):
        read_glue(tmp_path, FORMATS["sst2"], "sst2", "dev")


@pytest.mark.parametrize(
    ("task", "split", "count", "majority"),
    [
        ("sst2", "train", 67_349, None),
        ("sst2", "dev", 872, 50.92),
        ("mrpc", "train", 3_668, None),
        ("mrpc", "dev", 408, 68.38),
        ("mrpc", "test", 1_725, None),
        ("rte", "train", 2_490, None),
        ("rte", "dev", 277, 52.71),
    ],
)
def test_the_official_files_are_read_whole(shared, task, split, count, majority):
    rows = read_glue(shared, FORMATS[task], task, split)
    assert len(rows) == count
    assert all(row.text and (row.pair is None) == (task == "sst2") for row in rows)
    if majority is not None:
        most = max(Counter(row.label for row in rows).values())
        assert round(100 * most / count, 2) == majority


def rows(count):
    return [Row(f"r/{i}", f"text {i}", None, i % 2) for i in range(count)]


def test_splits_are_disjoint_and_leave_nothing_out(load):
    train, validation, evaluation = split_rows(rows(200), rows(7), load().data)
    assert len(validation) == 20
    assert Counter(row.id for row in train + validation) == Counter(r.id for r in rows(200))
    assert evaluation == rows(7)


def test_nothing_trained_on_is_a_piece_of_a_validation_row(load):
    words = ["good", "bad", "dull", "odd", "new", "old", "sad", "wet"]
    wholes = [f"the {word} film is too long" for word in words]
    wholes += [f"a {word} end" for word in words[:4]]
    pieces = [" ".join(text.split()[1:4]) for text in wholes[:8]] + ["is too long", "film"]
    table = [Row(str(i), text, None, 0) for i, text in enumerate(pieces + wholes)]
    for seed in range(20):
        train, validation, _ = split_rows(table, rows(7), load(f"data.seed={seed}").data)
        assert len(validation) == 1 and validation[0].text in wholes
        others = [row.text for row in train]
        shared = [text for text in others if f" {text} " in f" {validation[0].text} "]
        # what other texts hold too says nothing about this one
        assert all(any(text in other for other in wholes if other in others) for text in shared)
        assert len(others) >= len(table) - 4


def test_the_data_seed_alone_draws_the_splits(load):
    first = split_rows(rows(200), rows(7), load("seed=1").data)
    assert first == split_rows(rows(200), rows(7), load("seed=2").data)
    assert first != split_rows(rows(200), rows(7), load("data.seed=1").data)


def test_a_subset_is_part_of_the_whole_and_keeps_the_validation_rows(load):
    whole = split_rows(rows(200), rows(7), load().data)
    part = split_rows(rows(200), rows(7), load("data.train_rows=50").data)
    assert len(part.train) == 50 and set(part.train) < set(whole.train)
    assert part.validation == whole.validation


@pytest.mark.parametrize(
    ("train", "evaluation", "message"),
    [
        (200, 0, "the dev split is empty"),
        (5, 5, "the train split has 5 texts; at least 10 are needed"),
        (100, 5, "data.train_rows must be at most 90 .* got 95"),
    ],
)
def test_splits_that_cannot_be(load, train, evaluation, message):
    with pytest.raises(UserError, match=message):
        split_rows(rows(train), rows(evaluation), load("data.train_rows=95").data)


def test_without_a_network_the_hub_says_what_to_do(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match="data=hub cannot load nyu-mll/glue .* use data=embedded"):
        load_glue("sst2", load("data=hub").data, tmp_path, FORMATS["sst2"])
