"""SQuAD v2's files, and each way in which one can be wrong."""

import gzip
import json

import pytest

from loradrift.config import UserError
from loradrift.data.squad_v2.format import Answer, Question, read_json, read_squad

CONTEXT = "Ann saw Bob.\nBob ran."


def gold(text, start):
    return {"text": text, "answer_start": start}


def answered(text, start):
    return {"is_impossible": False, "answers": [gold(text, start)]}


def content(**changes):
    """Two questions on one paragraph; ``changes`` are of the second, which has no answer."""
    answers = [gold("Bob", 13), gold("Bob.", 8)]
    first = {"id": "q1", "question": " Who ran? ", "is_impossible": False, "answers": answers}
    second = {"id": "q2", "question": "Who sat?", "is_impossible": True, "answers": []}
    second |= {"plausible_answers": [gold("Ann", 0)]} | changes
    second = {key: value for key, value in second.items() if value != "gone"}
    paragraph = {"context": CONTEXT, "qas": [first, second]}
    return {"version": "v2.0", "data": [{"title": "People", "paragraphs": [paragraph]}]}


def write(folder, value):
    path = folder / "squad.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_questions_come_in_order_with_all_their_answers(tmp_path):
    path, packed = write(tmp_path, content()), tmp_path / "squad.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_squad(packed) == read_squad(path) == [
        Question("q1", "Who ran?", CONTEXT, (Answer("Bob", 13), Answer("Bob.", 8)), (), "People"),
        Question("q2", "Who sat?", CONTEXT, (), (Answer("Ann", 0),), "People"),
    ]  # fmt: skip
    # version 1.1 marks nothing
    gone = {"is_impossible": "gone", "plausible_answers": "gone"}
    old = write(tmp_path, content(answers=[gold("Ann", 0)], **gone))
    assert read_squad(old)[1].answers == (Answer("Ann", 0),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "gone"}, r"data\[0\].paragraphs\[0\].qas\[1\].id is missing"),
        ({"id": 7}, r"qas\[1\].id must be of type str, got int"),
        ({"id": "q1"}, r"qas\[1\].id is 'q1', which data\[0\].paragraphs\[0\].qas\[0\] has too"),
        ({"question": None}, r"qas\[1\].question must be of type str, got NoneType"),
        ({"answers": "gone"}, r"qas\[1\].answers is missing"),
        ({"answers": {}}, r"qas\[1\].answers must be of type list, got dict"),
        ({"answers": ["Ann"]}, r"qas\[1\].answers\[0\] must be of type dict, got str"),
        ({"answers": [{}]}, r"qas\[1\].answers\[0\].text is missing"),
        ({"answers": [{"text": "Ann"}]}, r"answers\[0\].answer_start is missing"),
        ({"answers": [gold("Ann", True)]}, r"answer_start must be of type int, got bool"),
        ({"is_impossible": "false"}, r"qas\[1\].is_impossible must be of type bool, got str"),
    ],
)
@pytest.mark.parametrize("problems", [None, []])
def test_a_malformed_question_is_named(tmp_path, changes, message, problems):
    with pytest.raises(UserError, match=rf"squad.json: .*{message}$"):
        read_squad(write(tmp_path, content(**changes)), problems)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plausible_answers": [gold("Bob", 0)]},
         ".plausible_answers[0].text is 'Bob', but at answer_start=0 the context has 'Ann'"),
        (answered("run.", -1), ".answers[0].answer_start must be at least 0, got -1"),
        *((answered(blank, 99), ".answers[0].text is empty") for blank in ("", " \t")),
        (answered("run." * 30, 99),
         f".answers[0].text is '{'run.' * 25}…', but at answer_start=99 the context has ''"),
        ({"answers": [gold("Ann", 0)]}, " is_impossible and has answers"),
        ({"question": "Who\ud83d?"}, ".question holds '\\ud83d', half of a character, at 3"),
        *(({"id": blank}, ".id must not be empty") for blank in ("", " \t")),
        *(({"question": blank}, ".question must not be empty") for blank in ("", " \n")),
        ({"is_impossible": "gone"}, " has no answers and is not marked is_impossible"),
    ],
)  # fmt: skip
def test_an_oddity_is_refused_or_collected(tmp_path, changes, message):
    path = write(tmp_path, content(**changes))
    message = f"data[0].paragraphs[0].qas[1]{message}"
    with pytest.raises(UserError) as error:
        read_squad(path)
    assert str(error.value) == f"{path}: {message}"
    problems = []
    [_, question] = read_squad(path, problems)
    assert problems == [message]
    assert len(question.answers) == len(changes.get("answers", []))  # none is dropped


def test_an_empty_context_is_refused_even_without_questions(tmp_path):
    value = content()
    value["data"][0]["paragraphs"].append({"context": " \n", "qas": []})
    path = write(tmp_path, value)
    with pytest.raises(UserError, match=r"data\[0\].paragraphs\[1\].context is empty"):
        read_squad(path)
    problems = []
    assert len(read_squad(path, problems)) == 2
    assert problems == ["data[0].paragraphs[1].context is empty"]


def test_a_malformed_file_is_named(tmp_path):
    for text, message in (
        ("[]", r"squad.json: the whole must be of type dict, got list"),
        ("{}", r"squad.json: data is missing"),
        ('{"data": {}}', r"data must be of type list, got dict"),
        ('{"data": []}', r"squad.json holds no questions"),
        ('{"data": [3]}', r"data\[0\] must be of type dict, got int"),
        ('{"data": [{}]}', r"data\[0\].paragraphs is missing"),
        ('{"data": [{"paragraphs": [[]]}]}', r"data\[0\].paragraphs\[0\] must be of type dict"),
        ('{"data": [{"paragraphs": [{"context": "x"}]}]}', r"paragraphs\[0\].qas is missing"),
        ('{"data": [', r"squad.json is no JSON: Expecting value: line 1 column 11"),
        ("", r"squad.json is no JSON: Expecting value"),
        ("[" * 100_000, r"squad.json is no JSON: maximum recursion depth"),
        ('{"data": [], "x": 1, "x": 2}', r"squad.json has the key 'x' twice in one object"),
    ):
        with pytest.raises(UserError, match=message):
            read_squad(write(tmp_path, text))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no.json is missing: a list is expected"):
        read_json(tmp_path / "no.json", "a list")
    packed = gzip.compress(json.dumps(content()).encode())
    for name, data, message in (
        ("squad.json.gz", packed[:-9], r"squad.json.gz is damaged"),
        ("squad.json", b'{"data":\n"\xff"}', r"squad.json, line 2: not UTF-8 text"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=message):
            read_squad(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "questions", "unanswerable"),
    [("dev", 11873, 5945), ("dev-mini", 5866, 2893), ("train-mini", 18226, 3400)],
)
def test_the_real_files_are_without_fault(shared, name, questions, unanswerable):
    read = read_squad(shared / f"squad_v2/{name}-v2.0.json.gz")
    assert len(read) == questions
    assert sum(not question.answers for question in read) == unanswerable
