"""Four segments a row, which stand for the text and nothing else; what is dropped is counted."""

import numpy as np
import pytest
import torch

from loradrift.config import UserError
from loradrift.data import Collator
from loradrift.data.reconstruction import (
    ContextRow,
    ContextSizes,
    Layout,
    contexts_fingerprint,
    encode_contexts,
)
from loradrift.data.reconstruction.encoding import continued_ids
from loradrift.data.tokens import token_ids
from loradrift.models import load_tokenizer

LAYOUT = Layout(" question {question} ", "answer :")
SIZES = ContextSizes(max_length=60, max_context=20, max_answer=4)
CONTEXT = "the film was great , no , the film was terrible"


def row(name, answer="great", context=CONTEXT, question="was it", **more):
    return ContextRow(name, context, question, (answer,), context.index(answer) + 5, **more)


@pytest.fixture
def tokenizer(model):
    return load_tokenizer(model)


@pytest.fixture
def encode(tokenizer, tmp_path):
    def run(rows, sizes=SIZES, layout=LAYOUT):
        return encode_contexts(rows, tokenizer, layout, sizes, tmp_path)

    return run


def test_the_segments_are_the_tokens_of_their_texts_in_order(encode, tokenizer):
    rows = [row("a"), row("b", "film", question="what was it"), row("c", context="no great yes")]
    table = encode(rows)
    assert table.ids == ("a", "b", "c") and table.rows == rows and len(table) == 3
    for i, each in enumerate(rows):
        parts = each.context, LAYOUT.rest(each.question), f" {each.answers[0]}"
        context, rest, answer = token_ids(tokenizer, parts)
        ids = [tokenizer.bos_token_id, *context, *rest, *answer, tokenizer.eos_token_id]
        assert table.row(i).tolist() == ids and table.lengths[i] == len(ids)
        assert table.context_start[i] == 1 and table.context_end[i] == 1 + len(context)
        assert table.answer_start[i] == table.labels[i] == 1 + len(context) + len(rest)
        flags = [token not in (tokenizer.bos_token_id, tokenizer.eos_token_id) for token in ids]
        assert table.is_text(i).tolist() == flags
    assert table.counts == {"contexts": 2} and table.num_truncated == 0 and table.lossy == ()


def test_examples_are_a_prefix_that_is_no_context(encode, tokenizer):
    shots = f"{LAYOUT.example(row('x'))}{LAYOUT.example(row('y'))}"
    plain, shown = (
        encode([row("a")]),
        encode([row("a", shots=shots)], SIZES._replace(max_length=300)),
    )
    [ids] = token_ids(tokenizer, [shots])
    assert shown.context_start[0] == 1 + len(ids)
    assert shown.row(0).tolist() == [plain.row(0)[0], *ids, *plain.row(0)[1:]]
    assert shown.answer_start[0] - shown.context_start[0] == plain.answer_start[0] - 1
    assert not shown.is_text(0)[: 1 + len(ids)].any()


def test_a_batch_has_the_places_and_the_loss_of_language_modelling_its_label(encode, tokenizer):
    table = encode([row("a"), row("b", context="no great yes")])
    batch = Collator(tokenizer.pad_token_id, multiple=1)(table, [1, 0])
    assert batch["input_ids"].shape == (2, table.lengths.max())
    for name in ("context_start", "context_end", "answer_start"):
        assert batch[name].dtype == torch.int64
        assert batch[name].tolist() == getattr(table, name)[[1, 0]].tolist()
    assert torch.equal(batch["labels"], batch["answer_start"])


def test_rows_that_cannot_be_answered_are_dropped_and_counted_by_reason(encode, tokenizer):
    behind = ContextRow("b", f"{CONTEXT} yes", "was it", ("yes",), len(CONTEXT) + 4)
    long = row("c", answer=CONTEXT)
    rows = [row("a"), behind, long, row("d")]
    size = len(token_ids(tokenizer, [CONTEXT])[0])
    table = encode(rows, SIZES._replace(max_context=size))
    assert table.ids == ("a", "d")
    assert table.counts == {"contexts": 1, "dropped_answer_behind_cut": 1, "dropped_long_answer": 1}
    assert encode(rows, SIZES._replace(max_context=size + 9)).ids == ("a", "b", "d")
    said = f"1 have an answer of more than task.max_answer_tokens={SIZES.max_answer}"
    with pytest.raises(UserError, match=f"none of 1 rows is left: {said}$"):
        encode([long])
    said = rf"2 have an answer behind .* \(task.max_context_tokens={size}, task.max_length="
    with pytest.raises(UserError, match=f"none of 2 rows is left: {said}"):
        encode([behind, behind._replace(id="e")], SIZES._replace(max_context=size))


def test_a_context_is_cut_to_its_bound_or_to_the_rows_room(encode, tokenizer):
    [ids] = token_ids(tokenizer, [CONTEXT])
    cut = encode([row("a")], SIZES._replace(max_context=len(ids) - 1))
    assert cut.num_truncated == 1 and cut.context_end[0] == len(ids)
    assert cut.row(0)[1 : len(ids)].tolist() == ids[:-1]
    rest = int(encode([row("a")]).answer_start[0]) - 1 - len(ids)
    room = SIZES._replace(max_length=1 + len(ids) - 2 + rest + SIZES.max_answer + 1)
    assert encode([row("a")], room).context_end[0] == 1 + len(ids) - 2


def test_bytes_are_those_of_the_text_up_to_each_token(encode, tokenizer):
    context = "the film was greät , nö — 漢字 yes"
    table = encode([row("a", "film", context)], SIZES._replace(max_context=99))
    ends = table.byte_ends(0)
    assert (
        ends[-1] == table.context_bytes[0] == len(context.encode()) and (np.diff(ends) >= 0).all()
    )
    for count in range(1, len(ends)):
        said = tokenizer.decode(table.row(0)[1 : 1 + count]).removeprefix(" ")
        if "\ufffd" not in said:
            assert ends[count - 1] == len(said.encode())
    cut = encode([row("a", "film", context)], SIZES._replace(max_context=5))
    assert cut.context_bytes.tolist() == [ends[4]]


def test_what_is_cached_is_read_again(encode, monkeypatch):
    rows = [row("a"), row("b", answer=CONTEXT)]
    first = encode(rows)
    monkeypatch.setattr("loradrift.data.reconstruction.encoding._encode", None)
    again = encode(rows)
    assert again.row(0).tolist() == first.row(0).tolist() and again.counts == first.counts
    assert again.rows == first.rows == rows[:1]


@pytest.mark.parametrize(
    ("rows", "sizes", "message"),
    [
        ([ContextRow("a", "", "was it", ("x",))], {}, "the context of row a has no tokens"),
        ([row("a")], {"max_length": 12}, "task.max_length=12 leaves no token for the context of "),
    ],
)
def test_a_row_without_a_context_is_an_error_that_names_it(encode, rows, sizes, message):
    with pytest.raises(UserError, match=message):
        encode(rows, SIZES._replace(**sizes))


def test_the_fingerprint_knows_layout_and_sizes(tokenizer):
    prints = {
        contexts_fingerprint(tokenizer, layout, sizes)
        for layout in (LAYOUT, LAYOUT._replace(anchor="a :"), LAYOUT._replace(asking="{question}"))
        for sizes in (SIZES, SIZES._replace(max_context=9), SIZES._replace(max_answer=9))
    }
    assert len(prints) == 9


def test_text_behind_other_text_does_not_begin_anew():
    """As a tokenizer of SentencePiece's kind marks the beginning of a text."""

    class Marking:
        def __call__(self, texts, **options):
            return {"input_ids": [list(f"_{text}".replace(" ", "_")) for text in texts]}

    assert continued_ids(Marking(), ["\nwho", " paris"]) == [list("\nwho"), list("_paris")]

    class Merging:
        def __call__(self, texts, **options):
            return {"input_ids": [[text[:2], *text[2:]] for text in texts]}

    assert continued_ids(Merging(), ["\nwho"]) == [["\nw", "h", "o"]]
