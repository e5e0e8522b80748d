"""GLUE's official files with their quirks, each way in which one can be wrong, and neutral text."""

import gzip
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from loradrift.config import UserError
from loradrift.data import FORMATS, Row, TokenTable, load_glue, load_retention_text
from loradrift.data.corpus import WIKITEXT, read_retention_text
from loradrift.data.glue import read_glue

WIKI = " \n = Lobster = \n \n = = Diet = = \n \n It eats = and more . \n = 3 is a number \n"


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


def texts(rows):
    return [row.text for row in rows]


def test_wikitext_comes_before_the_corpus_for_pretraining_and_is_named_if_damaged(tmp_path):
    assert read_retention_text(tmp_path) == []
    corpus, packed = tmp_path / "corpus", gzip.compress(WIKI.encode())
    corpus.mkdir()
    assert read_retention_text(tmp_path) == []
    (corpus / "valid.txt").write_text("one document\n\n= another =\n")
    assert texts(read_retention_text(tmp_path)) == ["one document", "= another ="]
    (corpus / WIKITEXT).write_bytes(packed)  # no headings, no empty lines
    assert texts(read_retention_text(tmp_path)) == ["It eats = and more .", "= 3 is a number"]
    for cut in (2, 20):
        (corpus / WIKITEXT).write_bytes(packed[cut:-cut])
        with pytest.raises(UserError, match=rf"{WIKITEXT} is damaged: "):
            read_retention_text(tmp_path)


def test_the_embedded_text_is_what_no_pretraining_saw(load, cache):
    rows = texts(load_retention_text(load().data, cache))
    [path] = cache.glob("data/embedded-*-seed=0/corpus/valid.txt")
    assert rows == path.read_text().splitlines()
    assert not set(rows) & set((path.parent / "train.txt").read_text().splitlines())


def test_the_official_file_is_read_whole(load, shared, tmp_path):
    rows = texts(load_retention_text(load("data=local", f"data.root={shared}").data, tmp_path))
    assert len(rows) == 1841
    assert rows[0].startswith("Homarus gammarus , known as the European lobster")
    assert not [text for text in rows if text.startswith("= ") and text.endswith(" =")]


def test_the_hub_gives_paragraphs_and_without_a_network_none(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    hub, asked = load("data=hub").data, []
    with pytest.raises(UserError, match="data=hub cannot load nyu-mll/glue .* use data=embedded"):
        load_glue("sst2", hub, tmp_path, FORMATS["sst2"])
    assert load_retention_text(hub, tmp_path) == []

    def load_dataset(*args, **options):
        asked.append((args, options))
        return {"text": ["", " = Title = \n", " Some text . \n"]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert texts(load_retention_text(hub, tmp_path)) == ["Some text ."]
    assert asked == [(("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "validation"})]


def test_the_head_of_a_table_has_so_many_tokens_and_a_fingerprint():
    offsets, labels = np.array([0, 3, 7, 9]), np.zeros(3)
    flags = (np.arange(9) % 2).astype(np.uint8)
    table = TokenTable(("a", "b", "c"), np.arange(9, dtype=np.int32), offsets, labels, 0, flags)
    first, whole = [0, 1, 2], [[0, 1, 2], [3, 4, 5, 6], [7, 8]]
    heads = {2: [[0, 1]], 3: [first], 4: [first], 5: [first, [3, 4]], 9: whole, 99: whole}
    for num_tokens, rows in heads.items():  # of 4 the last alone would predict nothing
        head = table.head(num_tokens)
        assert [head.row(i).tolist() for i in range(len(head))] == rows, num_tokens
        for i, row in enumerate(rows):
            assert head.is_text(i).tolist() == [token % 2 == 1 for token in row]
        assert len(head.lengths) == len(head.ids) == len(head.labels) == len(rows)
    cut = TokenTable(table.ids, table.flat, np.array([0, 4, 7, 9]), labels, 0, flags)
    prints = [t.fingerprint for t in (table, table.head(9), table.head(8), cut)]
    assert prints[0] == prints[1] and len(set(prints)) == 3
