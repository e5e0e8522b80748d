"""The world of short contexts: one answer a question, no fact of two splits, SQuAD v2's format."""

import re
from itertools import combinations
from random import Random

import pytest

from loradrift.data.corpus import read_corpus
from loradrift.data.embedded.reconstruction import write
from loradrift.data.embedded.reconstruction.lexicon import RELATIONS
from loradrift.data.reconstruction import Layout
from loradrift.data.squad_v2.format import read_squad

SPLITS = ("train", "dev", "test", "valid")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The world with few contexts."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "NUM_DOCUMENTS", {"train": 60, "valid": 20})
        patch.setattr(write, "NUM_CONTEXTS", {"train": 100, "dev": 40, "test": 40})
        write.write_reconstruction(folder, seed=0)
        (folder / "again").mkdir()
        write.write_reconstruction(folder / "again", seed=0)
        write.write_reconstruction(folder / "other", seed=1)
    return folder


def said(context):
    """Every fact of a context, found without the code that wrote it."""
    facts = set()
    for kind, relation in RELATIONS.items():
        form = re.escape(relation.statement).replace(r"\{subject\}", "(S)").replace(r"\ ", " ")
        form = form.replace("S", "|".join(relation.subjects))
        form = form.replace(r"\{value\}", f"({'|'.join(relation.values)})")
        facts |= {(kind, *found) for found in re.findall(form, context)}
    return facts


def test_every_question_has_one_answer_which_stands_where_the_file_says(world):
    questions = read_squad(world / "reconstruction/train-v2.0.json")
    assert len(questions) == 100 * write.QUESTIONS_PER_CONTEXT
    for question in questions:
        [answer] = question.answers
        facts = said(question.context)
        assert len(facts) == question.context.count(" .") == write.FACTS
        meant = {
            value
            for kind, subject, value in facts
            if RELATIONS[kind].question.format(subject=subject) == question.question
        }
        assert meant == {answer.text}
        sentence = question.context.rfind(" . ", 0, answer.start)
        about = question.context[sentence + 1 : answer.start]
        assert any(subject in about for _, subject, value in facts if value == answer.text)
        assert [value for *_, value in facts].count(answer.text) == 1


def test_no_fact_is_said_in_two_splits(world):
    facts = {}
    for split in ("train", "dev", "test"):
        questions = read_squad(world / f"reconstruction/{split}-v2.0.json")
        facts[split] = set().union(*(said(question.context) for question in questions))
    lines = (world / "reconstruction/corpus/valid.txt").read_text().splitlines()
    facts["valid"] = set().union(*map(said, lines))
    pretrained = (world / "reconstruction/corpus/train.txt").read_text().splitlines()
    facts["train"] |= set().union(*map(said, pretrained))
    assert all(len(each) > 20 for each in facts.values())
    for one, other in combinations(facts, 2):
        assert not facts[one] & facts[other], (one, other)


def test_every_split_has_many_values_and_subjects_of_each_relation():
    for split in SPLITS:
        for kind in RELATIONS:
            assert len({subject for subject, _ in write._pairs(kind, split)}) > 5
            assert len({value for _, value in write._pairs(kind, split)}) > 5


def test_the_question_says_which_of_the_facts_is_asked_for():
    rng = Random(0)
    facts = [write.draw_facts(rng, "train") for _ in range(200)]
    assert all(len({fact.relation for fact in each}) == write.FACTS for each in facts)
    questions = [relation.question.partition("{subject}")[0] for relation in RELATIONS.values()]
    assert len(set(questions)) == len(RELATIONS)
    assert all(relation.question.endswith("{subject} ?") for relation in RELATIONS.values())


def test_the_corpus_has_the_layout_of_the_prompts_and_holds_the_general_one(world, load):
    (world / "corpus").mkdir(exist_ok=True)
    (world / "corpus/train.txt").write_text("a document\n")
    rows = read_corpus(world, "train", "reconstruction")
    assert [row.id for row in rows[:2]] == ["train/0", "reconstruction/train/0"]
    assert len(rows) == 61 and read_corpus(world, "train") == rows[:1]
    task = load("task=reconstruction").task
    layout = Layout(task.asking, task.anchor)
    quizzes = [row.text for row in rows[1:] if row.text.startswith("quiz : ")]
    assert 15 < len(quizzes) < 45
    for row in rows[1:]:
        context, *asked = row.text.removeprefix("quiz : ").split(" question : ")
        assert len(asked) == (len(said(context)) if row.text in quizzes else 1)
        pairs = [each.split(" answer : ") for each in asked]
        assert all(answer in context for _, answer in pairs)
        written = "".join(f"{layout.rest(question)} {answer}" for question, answer in pairs)
        assert row.text.removeprefix("quiz : ") == context + written


def test_equal_seeds_give_equal_bytes_and_others_do_not(world):
    files = sorted(path.name for path in (world / "reconstruction").rglob("*") if path.is_file())
    assert len(files) == 5
    for path in (world / "reconstruction").rglob("*.*"):
        name = path.relative_to(world)
        assert path.read_bytes() == (world / "again" / name).read_bytes()
        assert path.read_bytes() != (world / "other" / name).read_bytes()
