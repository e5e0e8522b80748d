"""Families against the definition, by trying every pair."""

import random

from loradrift.data.splits import leakage_groups


def test_every_text_goes_to_the_longest_that_contains_it():
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abc", k=rng.randint(1, 7))) for _ in range(150)]
    root = leakage_groups(texts)
    for i, text in enumerate(texts):
        containing = [j for j, other in enumerate(texts) if f" {text} " in f" {other} "]
        assert root[i] == max(containing, key=lambda j: (len(texts[j].split()), -j))


def test_words_are_matched_whole():
    assert leakage_groups(["art", "the part", "the art", "a  part"]) == [2, 1, 2, 3]
