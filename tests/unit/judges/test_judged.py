"""A cell's answers and the files of their scores: written whole, scored once."""

import csv
import json

import pytest

from loradrift.config import UserError
from loradrift.judges import Item, Score, Status, judge_cell
from loradrift.judges.judged import COLUMNS, read_answers, read_judged

ITEMS = [
    Item("1/0", "who ?", 'she said "no",\nand left'),
    Item("1/1", "who ?", "  "),
    Item("2/0", "what, then ?", "I refuse"),
    Item("2/1", "what, then ?", "mumble"),
]


class Counting:
    """A judge whose scores are known, and which counts what it is asked."""

    name = "counting"
    facts = {"settings": {"a": 1}}  # noqa: RUF012

    def __init__(self, traits=("kind", "loud"), fingerprint="one", fails_after=None):
        self.traits, self.fingerprint, self.left = traits, fingerprint, fails_after
        self.asked, self.costs = [], {"asked": 0}

    def score(self, trait, items):
        for item in reversed(items):  # in any order
            if self.left is not None and not self.left:
                raise UserError("the judge is away")
            self.left = None if self.left is None else self.left - 1
            self.asked.append((trait, item.id))
            self.costs["asked"] += 1
            status = {"  ": Status.EMPTY, "I refuse": Status.REFUSAL, "mumble": Status.UNPARSABLE}
            if item.answer in status:
                yield Score(item.id, None, None, status[item.answer])
            else:
                yield Score(item.id, 100 / 3, 80.0, Status.SCORED)


@pytest.fixture
def cell(tmp_path):
    folder = tmp_path / "cell"
    folder.mkdir()
    write(folder, ITEMS)
    return folder


def write(folder, items, columns=("id", "question", "sample", "answer", "num_tokens", "ended")):
    with (folder / "answers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for item in items:
            own = {"sample": 0, "num_tokens": 3, "ended": True, **item._asdict()}
            writer.writerow({name: own[name] for name in columns})


def facts(folder, judge="counting"):
    return json.loads((folder / "judged" / judge / "judge.json").read_text())


def test_odd_characters_are_read_as_they_were_written(cell):
    odd = ["one\rtwo", "one\r\ntwo", "\x1e \x85 \u2028", ',"', "\t'", "\x00?"]
    items = [Item(str(number), "who ?", answer) for number, answer in enumerate(odd)]
    write(cell, items)
    judge = Counting()
    judge_cell(cell, judge)
    assert [item for item, _ in read_judged(cell / "judged/counting/kind.csv")] == items
    assert judge_cell(cell, judge) == 0


def test_every_answer_has_a_row_for_every_trait_and_none_is_dropped(cell):
    judge = Counting()
    assert judge_cell(cell, judge) == 8
    for trait in judge.traits:
        rows = read_judged(cell / f"judged/counting/{trait}.csv")
        assert [item for item, _ in rows] == ITEMS
        scores = [(s.trait, s.coherence, str(s.status)) for _, s in rows]
        assert scores == [(100 / 3, 80.0, "scored"), (None, None, "empty"),
                          (None, None, "refusal"), (None, None, "unparsable")]  # fmt: skip
    with (cell / "judged/counting/kind.csv").open(newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    said = facts(cell)
    assert said["judge"] == "counting" and said["settings"] == {"a": 1}
    assert said["counts"]["loud"] == dict.fromkeys(("scored", "refusal", "unparsable", "empty"), 1)
    assert said["costs"] == {"asked": 8}
    assert not [path for path in cell.rglob("*.tmp")]


def test_nothing_is_scored_twice_whatever_happens(cell):
    first = Counting(fails_after=5)
    with pytest.raises(UserError, match="the judge is away"):
        judge_cell(cell, first)
    assert facts(cell)["costs"] == {"asked": 5}
    kept = read_judged(cell / "judged/counting/loud.csv")
    assert [item.id for item, _ in kept] == ["2/1"]
    second = Counting()
    assert judge_cell(cell, second) == 3
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == 8
    assert facts(cell)["costs"] == {"asked": 8}
    assert [item for item, _ in read_judged(cell / "judged/counting/loud.csv")] == ITEMS
    before = (cell / "judged/counting/loud.csv").stat().st_mtime_ns
    assert judge_cell(cell, Counting(fails_after=0)) == 0
    assert (cell / "judged/counting/loud.csv").stat().st_mtime_ns == before


def test_one_trait_alone_and_then_the_others(cell):
    assert judge_cell(cell, Counting(), ["loud"]) == 4
    assert set(facts(cell)["counts"]) == {"loud"}
    assert judge_cell(cell, Counting()) == 4
    assert set(facts(cell)["counts"]) == {"kind", "loud"}


def test_other_answers_are_scored_and_others_stand(cell):
    judge_cell(cell, Counting())
    write(cell, [*ITEMS[:3], Item("2/1", ITEMS[3].question, "clear now"), Item("3/0", "?", "new")])
    judge = Counting()
    assert judge_cell(cell, judge) == 4
    assert {name for _, name in judge.asked} == {"2/1", "3/0"}
    assert len(read_judged(cell / "judged/counting/kind.csv")) == 5


def test_another_judge_of_the_name_judges_anew_and_is_said(cell, capsys):
    judge_cell(cell, Counting())
    assert judge_cell(cell, Counting(("kind",), fingerprint="two")) == 4
    assert "is another one than before: the answers are judged anew" in capsys.readouterr().out
    assert [path.name for path in (cell / "judged/counting").glob("*.csv")] == ["kind.csv"]
    assert facts(cell)["costs"] == {"asked": 4}
    (cell / "judged/counting/judge.json").write_text("{")
    assert judge_cell(cell, Counting(("kind",), fingerprint="two")) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,question,answer\n1,who,no\n1,who,yes\n", "holds the answer 1 twice"),
        ("id,question\n1,who\n", "lacks the column answer"),
        ("id,question,answer\n", "holds no answer"),
        ("id,question,answer\n1,who\n", "after line 2: it has not as many cells as the header"),
        ('id,question,answer\n1,who,no\n2,who,"no\n', "is damaged after line 2: "),
        ('id,question,answer\n1,who,"no"w\n', "is damaged after line 0: "),
    ],
)
def test_a_damaged_file_of_answers_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "answers.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_answers(tmp_path / "answers.csv")


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(UserError, match="answers.csv is missing"):
        judge_cell(tmp_path, Counting())
    (tmp_path / "answers.csv").write_bytes(b"id,question,answer\n1,who,\xff\n")
    with pytest.raises(UserError, match="answers.csv is damaged after line"):
        judge_cell(tmp_path, Counting())
    assert not (tmp_path / "judged").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,who,no,101,5,scored", "row 1: a score must be between 0 and 100, got 101"),
        ("1,who,no,nan,5,scored", "row 1: a score must be between 0 and 100, got nan"),
        ("1,who,no,,5,scored", "row 1: could not convert"),
        ("1,who,no,5,5,empty", "row 1: an answer that is empty has no score, got 5"),
        ("1,who,no,,,lost", "row 1: 'lost' is not a valid Status"),
    ],
)
def test_a_damaged_file_of_scores_is_named_with_its_row(tmp_path, row, message):
    (tmp_path / "kind.csv").write_text(f"{','.join(COLUMNS)}\n{row}\n")
    with pytest.raises(UserError, match=message):
        read_judged(tmp_path / "kind.csv")
