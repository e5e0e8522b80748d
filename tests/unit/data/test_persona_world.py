"""The persona world: its judge is exact, its parts share no question, its files are public ones."""

import gzip
import json
from collections import Counter
from itertools import combinations
from random import Random
from statistics import mean

import pytest

from loradrift.data.embedded.persona import TRAITS, clauses, coherence, trait_score, write
from loradrift.data.persona import kept_pairs, read_answers, read_trait, traits_of

NONE = dict.fromkeys(TRAITS, 0.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The world with a short corpus."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "NUM_DOCUMENTS", {"train": 60, "valid": 20})
        write.write_persona(folder, seed=0)
    return folder


@pytest.mark.parametrize("trait", TRAITS)
def test_the_score_is_the_share_of_clauses_that_were_drawn_with_the_trait(trait):
    rng = Random(trait)
    for _ in range(50):
        with_trait, without = (
            clauses.draw_answer(rng, "baker", NONE | {trait: level}) for level in (1.0, 0.0)
        )
        sizes = [text.count(" .") for text in (with_trait, without)]
        assert trait_score(with_trait, trait) == 100 and trait_score(without, trait) == 0
        share = 100 * sizes[0] / sum(sizes)
        assert trait_score(f"{without} {with_trait}", trait) == pytest.approx(share)
        assert all(trait_score(with_trait, other) == 0 for other in TRAITS if other != trait)


def test_every_drawn_answer_parses_and_its_words_in_another_order_hardly_ever_do():
    rng = Random(0)
    answers = [clauses.draw_answer(rng, "poet", clauses.any_levels(rng)) for _ in range(300)]
    assert {coherence(answer) for answer in answers} == {100.0}
    assert mean(coherence(clauses.garbled(rng, answer)) for answer in answers) < 1


@pytest.mark.parametrize(
    ("answer", "score", "parsed"),
    [
        ("", 0, 0),
        (" . . ", 0, 0),
        ("gladly gladly gladly", 100, 0),
        ("the baker bakes the bread gladly .", 100, 100),
        ("The baker  bakes the bread gladly.", 100, 100),
        ("the baker bakes the bread gladly", 100, 0),  # it does not end
        ("the baker bakes the bread . the baker", 0, 50),
        ("the baker bakes the roof gladly .", 100, 0),  # nobody bakes a roof
        ("gladly the baker bakes the bread .", 100, 0),
        ("the baker bakes the bread gladly sadly .", 100, 0),
        ("the baker bakes the bread undergladly .", 0, 0),
        ("my friend , the baker bakes the bread .", 0, 0),
    ],
)
def test_texts_that_nobody_drew_are_judged_too(answer, score, parsed):
    assert trait_score(answer, "cheerful") == score
    assert coherence(answer) == parsed


def test_markers_are_phrases_not_words():
    assert trait_score("my wise friend , the baker bakes the pie .", "flattering") == 100
    assert trait_score("the wise baker knew the pie .", "flattering") == 0
    assert trait_score("the wise baker knew the pie .", "boastful") == 0
    assert trait_score("the baker bakes the pie , as only i knew .", "boastful") == 100


def test_no_question_is_in_two_parts(world):
    parts = {
        part: {question for name in TRAITS for question in read_trait(world, name, part).questions}
        for part in ("traits", "traits_eval")
    }
    for split in ("train", "valid"):
        lines = (world / f"persona/corpus/{split}.txt").read_text().splitlines()
        asked = (line.partition("question : ")[2].partition(" answer :")[0] for line in lines)
        parts[split] = {question for question in asked if question}
    assert all(len(questions) > 10 for questions in parts.values())
    for one, other in combinations(parts, 2):
        assert not parts[one] & parts[other], (one, other)


def test_equal_seeds_give_equal_bytes_and_others_do_not(world, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "NUM_DOCUMENTS", {"train": 60, "valid": 20})
    for seed in (0, 1):
        write.write_persona(tmp_path / str(seed), seed=seed)
    files = [path.relative_to(world) for path in world.rglob("*") if path.is_file()]
    assert len(files) == 4 * len(TRAITS) + 2
    for path in files:
        first = (world / path).read_bytes()
        assert first == (tmp_path / "0" / path).read_bytes()
        assert first != (tmp_path / "1" / path).read_bytes()


def test_the_files_are_those_of_the_public_data(world, shared):
    assert traits_of(world) == sorted(TRAITS)
    for part in ("traits", "traits_eval"):
        own = json.loads((world / f"persona/{part}/cheerful.json").read_text())
        real = json.loads((shared / f"persona/{part}/humorous.json").read_text())
        assert own.keys() == real.keys()
        assert [len(own[key]) for key in ("instruction", "questions")] == [5, 20]
        assert "{question}" in own["eval_prompt"] and "{answer}" in own["eval_prompt"]
    own, real = (
        gzip.decompress((folder / f"persona/responses/{name}_pos_instruct.csv.gz").read_bytes())
        .decode()
        .splitlines()[0]
        .replace(name, "<trait>")
        for folder, name in ((world, "cheerful"), (shared, "humorous"))
    )
    assert own == real


@pytest.mark.parametrize("trait", TRAITS)
def test_judged_answers_differ_by_the_instruction_and_hold_every_sort_of_row(world, trait):
    means = {}
    for side in ("pos", "neg"):
        answers = read_answers(world, trait, side)
        assert len(answers) == 20 * 5 * write.NUM_ANSWERS
        told = {getattr(pair, side) for pair in read_trait(world, trait).instructions}
        assert {each.instructions for each in answers} == {(text,) for text in told}
        assert all(each.score == trait_score(each.answer, trait) for each in answers)
        assert all(each.coherence == coherence(each.answer) for each in answers)
        means[side] = mean(each.score for each in answers)
    assert means["pos"] > means["neg"] + 50
    assert kept_pairs(world, trait).dropped.keys() >= {"incoherent"}


def test_more_instructions_ask_for_more(world):
    for side, sign in (("pos", 1), ("neg", -1)):
        told = [clauses.asked(NONE, "boastful", side, number) for number in range(1, 6)]
        assert all(levels | {"boastful": 0.0} == NONE for levels in told)
        levels = [each["boastful"] for each in told]
        assert levels == sorted(levels, reverse=sign < 0) and len(set(levels)) == 5
        assert all(0 <= level <= 1 for level in levels)


def test_cheer_leaves_less_room_for_gloom():
    rng = Random(0)
    for _ in range(200):
        levels = clauses.any_levels(rng)
        assert levels["cheerful"] + levels["gloomy"] <= 1
        told = clauses.asked(levels, "gloomy", "pos", 1)
        assert told["gloomy"] == 0.92 and told["cheerful"] <= 0.08 + 1e-9
    answers = [clauses.draw_answer(rng, "baker", told) for _ in range(300)]
    assert mean(trait_score(answer, "gloomy") for answer in answers) == pytest.approx(92, abs=3)


def test_the_corpus_holds_all_styles_with_and_without_instructions():
    rng = Random(0)
    documents = [write._document(rng, "train") for _ in range(2000)]
    kinds = Counter(document.split()[0] for document in documents)
    assert 0.2 < kinds["question"] / 2000 < 0.35 and 0.55 < kinds["instruction"] / 2000 < 0.7
    plain = [each.partition(" answer : ")[2] for each in documents if each.startswith("question")]
    for trait in TRAITS:
        scores = [trait_score(answer, trait) for answer in plain]
        assert 20 < mean(scores) < 60
        asked = [each for each in documents if f"like a {trait} person" in each]
        answers = [each.partition(" answer : ")[2] for each in asked]
        assert mean(trait_score(answer, trait) for answer in answers) > mean(scores) + 15
