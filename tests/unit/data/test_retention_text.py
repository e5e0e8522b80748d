"""Where neutral text comes from, and how much of it is taken."""

import gzip
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from loradrift.config import UserError
from loradrift.data import TokenTable, load_retention_text
from loradrift.data.corpus import WIKITEXT, read_retention_text

WIKI = " \n = Lobster = \n \n = = Diet = = \n \n It eats = and more . \n = 3 is a number \n"


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
    assert load_retention_text(load("data=hub").data, tmp_path) == []
    asked = []

    def load_dataset(*args, **options):
        asked.append((args, options))
        return {"text": ["", " = Title = \n", " Some text . \n"]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert texts(load_retention_text(load("data=hub").data, tmp_path)) == ["Some text ."]
    assert asked == [(("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "validation"})]


def test_the_head_of_a_table_has_so_many_tokens_and_a_fingerprint():
    offsets, labels = np.array([0, 3, 7, 9]), np.zeros(3)
    table = TokenTable(("a", "b", "c"), np.arange(9, dtype=np.int32), offsets, labels, 0)
    first, whole = [0, 1, 2], [[0, 1, 2], [3, 4, 5, 6], [7, 8]]
    heads = {2: [[0, 1]], 3: [first], 4: [first], 5: [first, [3, 4]], 9: whole, 99: whole}
    for num_tokens, rows in heads.items():  # of 4 the last alone would predict nothing
        head = table.head(num_tokens)
        assert [head.row(i).tolist() for i in range(len(head))] == rows, num_tokens
        assert len(head.lengths) == len(head.ids) == len(head.labels) == len(rows)
    cut = TokenTable(table.ids, table.flat, np.array([0, 4, 7, 9]), labels, 0)
    prints = [t.fingerprint for t in (table, table.head(9), table.head(8), cut)]
    assert prints[0] == prints[1] and len(set(prints)) == 3
