"""What is trained on and what is held out: disjoint, drawn by the data's seed alone."""

import dataclasses
import random
from collections import Counter

import pytest

from loradrift.config import DataConfig, UserError
from loradrift.data import Row, load_squad
from loradrift.data.splits import leakage_groups, split_questions, split_rows


def test_every_text_goes_to_the_longest_that_contains_it():
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abc", k=rng.randint(1, 7))) for _ in range(150)]
    root = leakage_groups(texts)
    for i, text in enumerate(texts):  # by trying every pair
        containing = [j for j, other in enumerate(texts) if f" {text} " in f" {other} "]
        assert root[i] == max(containing, key=lambda j: (len(texts[j].split()), -j))
    assert leakage_groups(["art", "the part", "the art", "a  part"]) == [2, 1, 2, 3]  # whole words


def rows(count):
    return [Row(f"r/{i}", f"text {i}", None, i % 2) for i in range(count)]


def test_splits_are_disjoint_leave_nothing_out_and_depend_on_the_data_seed_alone(load):
    first = split_rows(rows(200), rows(7), load("seed=1").data)
    assert len(first.validation) == 20 and first.evaluation == rows(7)
    drawn = Counter(row.id for row in first.train + first.validation)
    assert drawn == Counter(row.id for row in rows(200))
    assert first == split_rows(rows(200), rows(7), load("seed=2").data)
    assert first != split_rows(rows(200), rows(7), load("data.seed=1").data)
    part = split_rows(rows(200), rows(7), load("data.train_rows=50").data)
    assert len(part.train) == 50 and set(part.train) < set(first.train)
    assert part.validation == first.validation


def test_nothing_trained_on_is_a_piece_of_a_validation_row(load):
    words = ["good", "bad", "dull", "odd", "new", "old", "sad", "wet"]
    wholes = [f"the {word} film is too long" for word in words]
    wholes += [f"a {word} end" for word in words[:4]]
    pieces = [" ".join(text.split()[1:4]) for text in wholes[:8]] + ["is too long", "film"]
    table = [Row(str(i), text, None, 0) for i, text in enumerate(pieces + wholes)]
    for seed in range(20):
        splits = split_rows(table, rows(7), load(f"data.seed={seed}").data)
        train, validation, _ = splits.rows
        assert len(validation) == 1 and validation[0].text in wholes
        others = [row.text for row in train]
        shared = [text for text in others if f" {text} " in f" {validation[0].text} "]
        # what other texts hold too says nothing about this one
        assert all(any(text in other for other in wholes if other in others) for text in shared)
        assert len(others) >= len(table) - 4


def test_splits_that_cannot_be(load):
    for train, evaluation, message in (
        (200, 0, "the dev split is empty"),
        (5, 5, "the train split has 5 texts; at least 10 are needed"),
        (100, 5, "data.train_rows must be at most 90 .* got 95"),
    ):
        with pytest.raises(UserError, match=message):
            split_rows(rows(train), rows(evaluation), load("data.train_rows=95").data)


def test_paragraphs_are_held_out_whole_and_what_cannot_be_split_is_named(cache):
    data = DataConfig(name="embedded", validation_rows=40, train_rows=100)
    squad = load_squad(data, cache)
    contexts = [{question.context for question in split} for split in squad.rows]
    assert not contexts[0] & contexts[1] and not contexts[0] & contexts[2]
    assert [len(split) for split in squad.rows] == [100, 40, 240]
    assert sum(bool(question.answers) for question in squad.evaluation) == 120
    assert all(question.plausible for question in squad.evaluation if not question.answers)
    with pytest.raises(UserError, match="the paragraph .* of the dev split is in the train split"):
        split_questions(squad.evaluation, squad.evaluation[:5], data)
    twin = squad.evaluation[3]._replace(id=squad.train[7].id)
    with pytest.raises(UserError, match=rf"id '{twin.id}' of the dev split is in the train split"):
        split_questions(squad.train, [*squad.evaluation, twin], data)
    larger = dataclasses.replace(data, train_rows=101, validation_rows=24)
    with pytest.raises(UserError, match=r"data.train_rows must be at most 88 .*, got 101"):
        split_questions(squad.train, squad.evaluation, larger)
