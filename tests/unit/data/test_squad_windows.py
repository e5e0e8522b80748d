"""Questions become windows that lose nothing: rows, offsets, answers; what is lost is listed."""

import itertools

import numpy as np
import pytest
import torch

from loradrift.config import UserError
from loradrift.data import Collator
from loradrift.data.squad_v2.encoding import WindowSizes
from loradrift.data.squad_v2.format import Answer, Question, find_squad
from loradrift.data.squad_v2.windows import make_windows
from loradrift.models import load_tokenizer

CONTEXT = "the film was great , no , the film was terrible\nyes the great film was terrible"
SIZES = WindowSizes(max_length=18, stride=4, max_question=8)


def question(name, *answers, text="was it great"):
    golds = tuple(Answer(answer, CONTEXT.index(answer)) for answer in answers)
    return Question(name, text, CONTEXT, golds, (), "films")


@pytest.fixture
def tokenizer(model):
    return load_tokenizer(model)


@pytest.fixture
def table(tokenizer, tmp_path):
    answers = {"a": ["terrible"], "b": [], "c": ["great film was"], "d": ["ilm was g"]}
    rows = [question(name, *each) for name, each in answers.items()]
    return make_windows(rows, tokenizer, SIZES, tmp_path)


def test_windows_cover_the_context_and_overlap_by_the_stride(table, tokenizer):
    texts = tokenizer([CONTEXT, "was it great"], add_special_tokens=False)["input_ids"]
    prefix = [tokenizer.bos_token_id, *texts[1][:8], tokenizer.eos_token_id]
    mine = [i for i in range(len(table)) if table.question[i] == 0]
    assert len(mine) > 2
    pieces = []
    for i in mine:
        row = table.row(i).tolist()
        assert row[: len(prefix)] == prefix and len(row) <= SIZES.max_length
        assert table.context_at[i] == len(prefix)
        pieces.append(row[len(prefix) :])
    for before, after in itertools.pairwise(pieces):
        assert before[-SIZES.stride :] == after[: SIZES.stride]
    glued = pieces[0] + [token for piece in pieces[1:] for token in piece[SIZES.stride :]]
    assert glued == texts[0]
    assert table.lengths.tolist() == [len(table.row(i)) for i in range(len(table))]
    assert table.ids[mine[1]] == "a/1"


def test_gold_answers_survive_or_are_listed(table):
    found = {}
    for i in np.flatnonzero(table.labels):
        asked = table.questions[table.question[i]]
        found[asked.id] = table.text(i, table.starts[i], table.ends[i])
    assert found["a"] == "terrible" and found["c"] == "great film was"
    assert "b" not in found and table.lossy == ("d",)  # begins inside of a token


def test_too_long_an_answer_is_listed_a_question_cut_and_no_room_refused(tokenizer, tmp_path):
    long = CONTEXT[: CONTEXT.index("\n")]
    table = make_windows([question("a", long)], tokenizer, SIZES, tmp_path)
    assert table.lossy == ("a",) and not table.labels.any()
    table = make_windows([question("a", text="was " * 40)], tokenizer, SIZES, tmp_path)
    assert table.num_truncated == 1 and table.context_at[0] == 2 + SIZES.max_question
    tight = WindowSizes(max_length=12, stride=5, max_question=8)
    with pytest.raises(UserError, match=r"task.max_length=12 leaves . tokens .* task.stride=5"):
        make_windows([question("a")], tokenizer, tight, tmp_path)


def test_the_file_is_read_again_or_made_again(table, tokenizer, tmp_path, monkeypatch):
    [path] = (tmp_path / "tokens").glob("*.arrow")
    assert make_windows(table.questions, tokenizer, SIZES, tmp_path).table.equals(table.table)
    half = path.read_bytes()[:100]
    path.unlink()  # the table at hand still has it mapped
    path.write_bytes(half)
    assert make_windows(table.questions, tokenizer, SIZES, tmp_path).table.equals(table.table)
    monkeypatch.setattr("loradrift.data.squad_v2.windows.BATCH", 1)  # several record batches
    path.unlink()
    apart = make_windows(table.questions, tokenizer, SIZES, tmp_path)
    assert apart.lossy == table.lossy and apart.table["id"].num_chunks == 4
    for i in range(len(table)):
        np.testing.assert_array_equal(apart.row(i), table.row(i))


def test_a_batch_says_where_context_and_answer_are(table, tokenizer):
    order = [len(table) - 1, 0]
    batch = Collator(0)(table, order)
    ends = torch.tensor([tokenizer.bos_token_id, tokenizer.eos_token_id])
    is_end = torch.isin(batch["input_ids"], ends)
    assert torch.equal(batch["content_mask"], batch["attention_mask"] & ~is_end)
    for number, i in enumerate(order):
        places = batch["context_mask"][number].nonzero().flatten().tolist()
        assert places == list(range(table.context_at[i], table.lengths[i]))
        assert batch["starts"][number] == table.starts[i]


def test_official_and_mini_files_are_never_mixed(tmp_path, shared):
    for name in ("train-mini-v2.0.json.gz", "dev-mini-v2.0.json.gz", "dev-v2.0.json.gz"):
        (tmp_path / name).touch()
    assert find_squad(tmp_path, "dev").name == "dev-mini-v2.0.json.gz"
    (tmp_path / "train-v2.0.json").touch()
    assert find_squad(tmp_path, "dev").name == "dev-v2.0.json.gz"
    with pytest.raises(UserError, match=r"test-v2.0.json \(or .json.gz\) is missing"):
        find_squad(tmp_path, "test")
    assert find_squad(shared, "train").name == "train-mini-v2.0.json.gz"
