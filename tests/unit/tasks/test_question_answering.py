"""Spans, losses and thresholds against formulas that share no code."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from loradrift.config import OptimConfig
from loradrift.data import Collator
from loradrift.data.squad_v2.encoding import WindowSizes
from loradrift.data.squad_v2.format import Answer, Question
from loradrift.data.squad_v2.windows import make_windows
from loradrift.models import SpanLogits, SpanModel, load_backbone, load_tokenizer
from loradrift.tasks.squad_v2 import SquadConfig
from loradrift.tasks.squad_v2.module import QuestionAnsweringTask
from loradrift.tasks.squad_v2.spans import WindowSpans, find_spans, read_answers, window_losses

CONTEXT = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1, 1, 1]]).bool()
NUMBERS = {"starts": [4, -1], "ends": [5, -1], "index": [3, 1]}
BATCH = {"context_mask": CONTEXT, **{key: torch.tensor(each) for key, each in NUMBERS.items()}}


def draw(answerable: bool) -> SpanLogits:
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 2, 8, generator=generator)
    return SpanLogits(start, end, torch.tensor([0.3, -1.2]) if answerable else None)


def probabilities(logits, row, null):
    places = ([0] if null else []) + CONTEXT[row].nonzero().flatten().tolist()
    sides = [{t: math.exp(side[row, t]) for t in places} for side in logits[:2]]
    return [{t: value / sum(side.values()) for t, value in side.items()} for side in sides]


def test_loss_with_the_head_and_with_the_null_span():
    logits = draw(True)
    start, end = probabilities(logits, 0, null=False)
    spans = -(math.log(start[4]) + math.log(end[5])) / 2
    has, lacks = 1 / (1 + math.exp(-0.3)), 1 / (1 + math.exp(1.2))
    expected = [spans - 2 * math.log(has), -2 * math.log(1 - lacks)]
    assert window_losses(logits, BATCH, 2.0).tolist() == pytest.approx(expected, rel=1e-5)

    logits = draw(False)
    start, end = probabilities(logits, 0, null=True)
    null_start, null_end = probabilities(logits, 1, null=True)
    probability = [start[4] * end[5], null_start[0] * null_end[0]]
    expected = [-math.log(each) / 2 for each in probability]
    assert window_losses(logits, BATCH, 1.0).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", [True, False])
def test_the_best_spans_are_those_of_a_full_search(head):
    logits = draw(head)
    found = find_spans(logits, BATCH, num_best=8, max_answer=3)
    assert [each.window for each in found] == [3, 1]
    for row, each in enumerate(found):
        start, end = probabilities(logits, row, null=not head)
        places = CONTEXT[row].nonzero().flatten().tolist()
        known = math.log(1 / (1 + math.exp(-float(logits.answerable_B[row])))) if head else 0.0
        spans = [(s, e) for s, e in itertools.product(places, places) if 0 <= e - s < 3]
        scores = [(math.log(start[s]) + math.log(end[e]) + known, s, e) for s, e in spans]
        scores = sorted(scores, reverse=True)[:8]
        assert [span[1:] for span in each.spans] == [span[1:] for span in scores]
        assert [s[0] for s in each.spans] == pytest.approx([s[0] for s in scores], rel=1e-4)
        odds = 0.0 if head else start[0] * end[0] / math.exp(scores[0][0])
        expected = 1 - math.exp(known) if head else odds / (1 + odds)
        assert each.unanswerable == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def table(model, tmp_path):
    context = "the film was great , no , the film was terrible yes the great film was terrible"
    great = Question("a", "was it great", context, (Answer("terrible", 39),), (), "")
    bad = great._replace(id="b", question="was it bad", answers=())
    sizes = WindowSizes(max_length=24, stride=5, max_question=8)
    return make_windows([great, bad], load_tokenizer(model), sizes, tmp_path)


def test_the_surest_window_speaks_for_its_question(table):
    at = int(table.context_at[0])
    second = WindowSpans(1, 0.2, [(-1.0, at, at), (-2.0, at + 1, at + 1)])
    first = WindowSpans(0, 0.9, [(-3.0, at, at)])
    reading = read_answers([second, first], table, num_best=2)["a"]
    assert (reading.unanswerable, reading.answer) == (0.2, table.text(1, at, at))
    assert len(reading.best) == 2 and reading.best[0][1] == -1.0


def test_the_threshold_is_chosen_on_validation_rows_and_used_on_the_others(model, table):
    reader = SpanModel(load_backbone(model, seed=0).eval(), answerability=True, seed=0)
    config = SquadConfig(name="squad_v2", max_length=24, stride=5, max_question=8, max_steps=1)
    task = QuestionAnsweringTask(reader, config, OptimConfig(), total_steps=1)
    logged = {}
    task.log_at_step = lambda values, **_: logged.update(values)
    loader = SimpleNamespace(table=table)
    task._trainer = SimpleNamespace(val_dataloaders=loader, test_dataloaders=loader)
    tokenizer = load_tokenizer(model)
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    batch = Collator(0, special)(table, list(range(len(table))))
    with pytest.raises(AssertionError, match="validate before testing"):
        task.on_test_start()
    task.validation_step(batch, 0)
    task.on_validation_epoch_end()
    chosen = task.threshold
    assert logged["validation/threshold"] == chosen
    task.test_step(batch, 0)
    task.on_test_epoch_end()
    # the same rows: what is best on them is what validation chose
    assert logged["evaluation/f1"] == logged["evaluation/best_f1_tuned_on_these_rows"]
    for reading in task.readings.values():
        unanswered = reading.unanswerable > chosen or not reading.answer
        assert (task.answer(reading) == "") == unanswered
    assert 0 <= logged["evaluation/exact"] <= 1
