"""The official files, with their quirks, and each way in which one can be wrong."""

from collections import Counter

import pytest

from loradrift.config import UserError
from loradrift.data import FORMATS, Row, load_glue
from loradrift.data.glue import read_glue


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_quirks_of_the_official_files(tmp_path):
    def read(task, split):
        return read_glue(tmp_path, FORMATS[task], task, split)

    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"  # with a byte-order mark
    write(tmp_path, "MRPC/dev.tsv", header + '1\t7\t8\t" He said " so .\tIt is "so .\n')
    assert read("mrpc", "dev") == [Row("mrpc/dev/0", '" He said " so .', 'It is "so .', 1)]
    # trailing spaces go, odd line breaks stay
    write(tmp_path, "SST-2/train.tsv", "sentence\tlabel\nfine\u2028film \t1\r\n\n")
    assert read("sst2", "train") == [Row("sst2/train/0", "fine\u2028film", None, 1)]
    rows = "0\ta\tb\tnot_entailment\n1\tc\td\tentailment\n"
    write(tmp_path, "glue/RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n" + rows)
    assert [row.label for row in read("rte", "dev")] == [1, 0]


def test_a_malformed_file_is_named_with_its_line(tmp_path):
    for text, message in (
        ("text\tlabel\na\t1\n", r"train.tsv, line 1: no column sentence in text, label"),
        ("sentence\tlabel\na\t1\nb\n", r"line 3: expected 2 tab-separated cells, got 1"),
        ("sentence\tlabel\na\t2\n", r"line 2: the label must be 0 or 1, got 2"),
        ("sentence\tlabel\n", r"train.tsv holds no rows"),
        ("sentence\tlabel\na\t1\n \t1\n", r"line 3: a sentence is empty"),
        ("", r"train.tsv is empty"),
    ):
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
        ("sst2", "train", 67_349, None), ("sst2", "dev", 872, 50.92),
        ("mrpc", "train", 3_668, None), ("mrpc", "dev", 408, 68.38), ("mrpc", "test", 1_725, None),
        ("rte", "train", 2_490, None), ("rte", "dev", 277, 52.71),
    ],
)  # fmt: skip
def test_the_official_files_are_read_whole(shared, task, split, count, majority):
    rows = read_glue(shared, FORMATS[task], task, split)
    assert len(rows) == count
    assert all(row.text and (row.pair is None) == (task == "sst2") for row in rows)
    if majority is not None:
        most = max(Counter(row.label for row in rows).values())
        assert round(100 * most / count, 2) == majority


def test_without_a_network_the_hub_says_what_to_do(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match="data=hub cannot load nyu-mll/glue .* use data=embedded"):
        load_glue("sst2", load("data=hub").data, tmp_path, FORMATS["sst2"])
