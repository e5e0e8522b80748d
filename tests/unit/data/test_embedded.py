"""The generated corpora: official formats, equal bytes, disjoint splits, labels that mean it."""

import hashlib
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import short_corpora

from loradrift.config import DataConfig
from loradrift.data import data_root
from loradrift.data.corpus import read_corpus
from loradrift.data.embedded import write_embedded
from loradrift.data.embedded.grammar import draw_fact, render, swap_roles
from loradrift.data.embedded.reviews import draw_sentence
from loradrift.data.embedded.variations import distort_somehow, weaken
from loradrift.data.glue import FORMATS, read_glue

SPLITS = {"train": 8000, "dev": 800, "test": 800}


class Corpora(NamedTuple):
    """Where they are, and the rows of each split."""

    root: Path
    sizes: dict[str, int]


@pytest.fixture(scope="module", params=[4, pytest.param(1, marks=pytest.mark.slow)])
def corpora(request, cache, tmp_path_factory) -> Corpora:
    """Short as all tests find them, whichever process has written them, or whole."""
    sizes = {split: size // request.param for split, size in SPLITS.items()}
    if request.param == 4:
        return Corpora(data_root(DataConfig(name="embedded"), cache), sizes)
    root = tmp_path_factory.mktemp("whole")
    write_embedded(root, seed=0)
    return Corpora(root, sizes)


def digests(root):
    paths = sorted(path for path in root.rglob("*.*") if path.is_file())
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


TASKS = ("sst2", "mrpc", "rte")


@pytest.fixture(scope="module")
def rows(corpora):
    """By task and split."""
    return {t: {s: read_glue(corpora.root, FORMATS[t], t, s) for s in SPLITS} for t in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_the_official_loaders_read_every_row_and_no_sentence_is_in_two_splits(corpora, rows, task):
    sentences = {}
    for split, count in corpora.sizes.items():
        read = rows[task][split]
        assert len(read) == count
        majority = max(Counter(row.label for row in read).values()) / count
        assert 0.5 <= majority <= 0.66
        assert all(row.text == row.text.lower() for row in read)
        sentences[split] = {text for row in read for text in (row.text, row.pair) if text}
    assert not sentences["train"] & (sentences["dev"] | sentences["test"])
    assert not sentences["dev"] & sentences["test"]


def test_no_evaluated_sentence_is_in_the_text_for_pretraining_and_none_is_long(corpora, rows):
    documents = [row for split in ("train", "valid") for row in read_corpus(corpora.root, split)]
    corpus = " ".join(row.text for row in documents)
    for task in ("sst2", "mrpc"):
        assert all(row.text not in corpus for split in ("dev", "test") for row in rows[task][split])
    words = [len(row.text.split()) for row in rows["sst2"]["dev"]]
    assert 6 < sum(words) / len(words) < 20  # like real ones


def test_equal_seeds_give_equal_bytes(corpora, tmp_path):
    with short_corpora(SPLITS["dev"] // corpora.sizes["dev"]):
        write_embedded(tmp_path, seed=0)
    found = digests(corpora.root)
    assert digests(tmp_path) == found and len(found) == 14 + 22 + 5


def test_other_seeds_give_other_files(cache, tmp_path):
    with short_corpora():
        write_embedded(tmp_path, seed=1)
    root = data_root(DataConfig(name="embedded"), cache)
    assert not set(digests(tmp_path)) & set(digests(root))


def test_swapping_roles_negating_and_distorting_change_the_fact_and_keep_its_split():
    rng = random.Random(0)
    for _ in range(200):
        fact = draw_fact(rng, "dev")
        assert fact.split == "dev"
        distorted = distort_somehow(rng, fact)
        assert distorted != fact and distorted.split == "dev"
        if not fact.about_things:
            swapped = swap_roles(fact)
            assert (swapped.agent, swapped.patient) == (fact.patient, fact.agent)


def test_weakening_drops_only_what_is_affirmed_and_a_rendering_says_whether_it_happened():
    rng = random.Random(0)
    for _ in range(200):
        fact = draw_fact(rng, "train")
        weaker = weaken(rng, fact)
        if fact.mood != "did":
            assert weaker == fact
        else:
            assert weaker.verb == fact.verb and weaker.mood == "did"
            assert weaker.place in ("", fact.place) and weaker.time in ("", fact.time)
        assert {"not", "never"} & set(render(rng, replace(fact, mood="not")).split())
        happened = render(rng, replace(fact, mood="did"))
        assert not {"not", "never", "may"} & set(happened.split())


def test_both_polarities_use_distractors():
    rng = random.Random(0)
    sentences = [draw_sentence(rng, "train", good=i < 99) for i in range(2 * 99)]
    assert sum("although" in text or " but " in text for text in sentences) > 10
