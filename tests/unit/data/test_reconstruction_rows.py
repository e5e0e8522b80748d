"""Rows of contexts: answerable ones, whole paragraphs held out, examples that are in no row."""

import json

import pytest

from loradrift.config import DataConfig, UserError
from loradrift.data.reconstruction import ContextRow, Layout, load_contexts

LAYOUT = Layout(" ask {question} ", "say :")


def article(split, paragraphs, questions=3):
    """Paragraphs of growing length, the last question of each being unanswerable."""
    made = []
    for i in range(paragraphs):
        context = f"{split} {i} " + "word " * i + "end"
        golds = [{"text": str(i), "answer_start": len(split) + 1}]
        golds += [{"text": "end", "answer_start": len(context) - 3}, dict(golds[0])]
        qas = [
            {
                "id": f"{split}-{i}-{k}",
                "question": f"which {k} ?",
                "answers": golds if k < questions - 1 else [],
                "is_impossible": k == questions - 1,
            }
            for k in range(questions)
        ]
        made.append({"context": context, "qas": qas})
    return {"title": split, "paragraphs": made}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data" / "squad_v2"
    folder.mkdir(parents=True)
    for split, size in (("train", 30), ("dev", 10)):
        squad = {"version": "v2.0", "data": [article(split, size)]}
        (folder / f"{split}-mini-v2.0.json").write_text(json.dumps(squad))
    return folder.parent


def local(root, **values):
    return DataConfig(name="local", root=str(root), **values)


def load(root, shots=0, evaluation_rows=None, **values):
    data = local(root, **values)
    return load_contexts(data, root, LAYOUT, shots, evaluation_rows=evaluation_rows)


def test_answerable_questions_are_rows_and_the_others_are_counted(root):
    splits = load(root)
    assert sum(map(len, splits.rows)) == 2 * 40 and splits.counts == {"dropped_unanswerable": 40}
    row = splits.evaluation[0]
    assert row == ContextRow("dev-0-0", "dev 0 end", "which 0 ?", ("0", "end"), 5, "")
    assert row.context[: row.answer_end].endswith("0")


def test_no_paragraph_is_in_two_splits(root):
    splits = load(root, validation_rows=6)
    contexts = [{row.context for row in rows} for rows in splits.rows]
    assert [len(each) for each in contexts] == [27, 3, 10]
    assert not contexts[0] & contexts[1]


def test_examples_stand_before_every_context_and_are_in_no_row(root):
    splits = load(root, shots=2)
    [shots] = {row.shots for rows in splits.rows for row in rows}
    first, second = shots.removesuffix("\n\n").split("\n\n")
    for i, text in enumerate((first, second)):
        context = f"train {i} " + "word " * i + "end"  # the shortest of all, for all are drawn
        assert text == f"{context} ask which 0 ? say : {i}"
        assert all(row.context != context for rows in splits.rows for row in rows)
    assert sum(map(len, splits.rows)) == 2 * 38


def test_fewer_rows_have_the_same_examples_and_another_seed_draws_others(root, monkeypatch):
    monkeypatch.setattr("loradrift.data.reconstruction.rows.POOL", 2)
    shots = load(root, shots=3).train[0].shots
    few = load(root, shots=3, train_rows=5)
    assert len(few.train) == 5 and few.train[0].shots == few.evaluation[0].shots == shots
    assert load(root, shots=3, seed=1).train[0].shots != shots


def test_evaluation_rows_are_drawn_by_the_datas_seed(root):
    ids = [row.id for row in load(root, evaluation_rows=7).evaluation]
    whole = [row.id for row in load(root).evaluation]
    assert len(ids) == 7 and ids == [name for name in whole if name in ids]
    assert ids == [row.id for row in load(root, evaluation_rows=7, train_rows=9).evaluation]
    assert ids != [row.id for row in load(root, evaluation_rows=7, seed=1).evaluation]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shots": 30}, "task.shots must be less than the 30 contexts to train on, got 30"),
        ({"evaluation_rows": 21}, "task.evaluation_rows must be at most 20 .*, got 21"),
        ({"train_rows": 999}, "data.train_rows must be at most 54"),
    ],
)
def test_more_than_there_is_names_the_key(root, values, message):
    with pytest.raises(UserError, match=message):
        load(root, **values)


def test_a_split_without_answers_is_an_error(root):
    squad = {"version": "v2.0", "data": [article("dev", 3, questions=1)]}
    (root / "squad_v2/dev-mini-v2.0.json").write_text(json.dumps(squad))
    with pytest.raises(UserError, match="the dev split holds no question with an answer"):
        load(root)


def test_the_mini_pair_is_read(shared):
    splits = load_contexts(local(shared, validation_rows=50), shared, LAYOUT, 3)
    assert splits.counts == {"dropped_unanswerable": 3400 + 2893}
    assert len(splits.evaluation) == 5866 - 2893
    assert splits.train[0].shots.count("say : ") == 3
    assert all(row.answers[0] in row.context[: row.answer_end] for row in splits.train[:500])
