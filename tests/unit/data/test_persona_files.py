"""Trait files and judged answers: what is read, what is dropped and counted, what is refused."""

import gzip
import json

import pytest
from persona_files import COLUMNS, QUESTION, rows_of, write_answers, write_trait

from loradrift.config import UserError
from loradrift.data.persona import (
    kept_pairs,
    read_answers,
    read_trait,
    traits_of,
)


@pytest.fixture
def root(tmp_path):
    return write_trait(tmp_path)


def change(root, **values):
    """Write the trait's file with other values; None leaves a key out."""
    path = root / "persona/traits/kind.json"
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: x for key, x in content.items() if x is not None}))


def test_a_trait_is_read(root):
    trait = read_trait(root, "kind")
    assert trait == read_trait(root, "kind", "traits_eval")
    assert trait.name == "kind" and trait.questions == (QUESTION,)
    assert trait.instructions == (("be kind .", "be unkind ."),)
    assert trait.instructions[0].neg == "be unkind ."


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"instruction": [{"pos": "a"}]}, r"kind.json: instruction\[0\].neg is missing"),
        (
            {"instruction": [{"pos": "a", "neg": "b"}, {"neg": "b"}]},
            r"instruction\[1\].pos is miss",
        ),
        (
            {"instruction": [{"pos": "a", "neg": " "}]},
            r"\[0\].neg must be a text that is not empty",
        ),
        ({"instruction": ["a"]}, r"instruction\[0\] must be an object with pos and neg, got a"),
        ({"instruction": []}, r"instruction must be a list that is not empty, got \[\]"),
        ({"questions": None}, "questions must be a list that is not empty, got None"),
        ({"questions": ["a", 3]}, r"questions\[1\] must be a text that is not empty, got 3"),
        ({"eval_prompt": None}, "eval_prompt is missing"),
    ],
)
def test_a_malformed_trait_file_is_one_line_that_names_the_place(root, values, message):
    change(root, **values)
    with pytest.raises(UserError, match=message) as error:
        read_trait(root, "kind")
    assert "\n" not in str(error.value)


def test_what_is_no_trait_file_is_named(root):
    with pytest.raises(UserError, match=r"the trait must be kind \(.*traits\), got cruel"):
        read_trait(root, "cruel")
    (root / "persona/traits/kind.json").write_text("{")
    with pytest.raises(UserError, match="kind.json is no JSON: Expecting property name"):
        read_trait(root, "kind")
    (root / "persona/traits/kind.json").write_text("[]")
    with pytest.raises(UserError, match="must be an object with instruction, questions and eval"):
        read_trait(root, "kind")
    with pytest.raises(UserError, match=r"holds no trait \(<trait>.json\): data.root must hold"):
        traits_of(root / "persona")


def test_answers_keep_their_lines_and_their_instructions(root):
    answer = 'He said "no",\nand left.\n\nThe end'
    write_answers(root, "pos", rows_of("pos", (answer, 60, 70), ("again", "", "nan")))
    first, second = read_answers(root, "kind", "pos")
    assert first.answer == answer and (first.score, first.coherence) == (60.0, 70.0)
    assert first.instructions == ("be\nkind",)
    assert (first.id, second.id) == ("kind_0_pos_0/0", "kind_0_pos_0/1")
    assert (second.score, second.coherence) == (None, None)


def test_a_compressed_file_is_read_alike(root):
    path = write_answers(root, "pos", rows_of("pos", ("yes", 60, 70)))
    plain = read_answers(root, "kind", "pos")
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert read_answers(root, "kind", "pos") == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'a,"b',
            r"the quoting of the row that begins in line 3 is broken \(unexpected end of data",
        ),
        ('a,"b"c,d', r"the quoting of the row that begins in line 3 is broken \(',' expected"),
        ("a,b", r"kind_pos_instruct.csv, line 3: expected 6 cells, got 2"),
        ("q,p,a,kind_0_pos_0,high,1", "line 3: kind must be a number, got high"),
        ("q,p,a,kind_0_pos_0,1,101", "line 3: coherence must be from 0 to 100, got 101"),
        (",p,a,kind_0_pos_0,1,1", "line 3: the question is empty"),
    ],
)
def test_a_malformed_row_is_one_line_that_names_its_own(root, text, message):
    path = write_answers(root, "pos", [])
    path.write_text("\n".join([",".join(COLUMNS), "q,p,a,kind_0_pos_0,60,70", text]))
    with pytest.raises(UserError, match=message) as error:
        read_answers(root, "kind", "pos")
    assert "\n" not in str(error.value)


def test_missing_columns_and_files_are_named(root):
    with pytest.raises(
        UserError,
        match=r"kind_pos_instruct.csv.gz is missing: kind has instructions and questions, and no "
        "judged answers, which task=persona trains on; answers are there of none",
    ):
        read_answers(root, "kind", "pos")
    write_answers(root, "pos", [], COLUMNS[:-2])
    with pytest.raises(UserError, match="line 1: no column kind, coherence in question, prompt"):
        read_answers(root, "kind", "pos")


def test_the_public_files_load(shared):
    names = ["evil", "hallucinating", "humorous", "optimistic", "sycophantic"]
    assert traits_of(shared) == names
    for name in names:
        extraction, evaluation = (read_trait(shared, name, p) for p in ("traits", "traits_eval"))
        assert len(extraction.instructions) == 5
        assert len(extraction.questions) == len(evaluation.questions) == 20
        assert not set(extraction.questions) & set(evaluation.questions)
    missing = (
        "evil_pos_instruct.csv.gz is missing: evil has instructions and questions, and no judged "
        "answers, which task=persona trains on; answers are there of hallucinating, humorous, "
        "optimistic, sycophantic"
    )
    with pytest.raises(UserError, match=missing):
        kept_pairs(shared, "evil")


@pytest.mark.parametrize("trait", ["hallucinating", "humorous", "optimistic", "sycophantic"])
def test_the_public_answers_load_whole(shared, trait):
    lines = {}
    for side in ("pos", "neg"):
        answers = read_answers(shared, trait, side)
        assert len(answers) == len({each.id for each in answers}) == 1000
        told = {getattr(pair, side) for pair in read_trait(shared, trait).instructions}
        system = {text for each in answers for text in each.instructions}
        assert len(system) == 5
        assert all(any(text.endswith(end) for text in system) for end in told)
        lines[side] = sum("\n" in each.answer for each in answers)
    assert sum(lines.values()) > 100
    kept = kept_pairs(shared, trait)
    assert len(kept.pairs) + sum(kept.dropped.values()) == 1000
    assert len(kept.pairs) > 200
    assert all(pos.score >= 50 > neg.score for pos, neg in kept.pairs)
    assert min(each.coherence for pair in kept.pairs for each in pair) >= 50
