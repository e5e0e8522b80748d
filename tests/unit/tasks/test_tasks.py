"""Losses, scores, spans and thresholds against formulas that share no code; checkpoints."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from loradrift.config import LoraConfig, OptimConfig
from loradrift.data import Collator
from loradrift.data.squad_v2.encoding import WindowSizes
from loradrift.data.squad_v2.format import Answer, Question
from loradrift.data.squad_v2.windows import make_windows
from loradrift.methods import make_trainable
from loradrift.models import Classifier, SpanLogits, SpanModel, load_backbone, load_tokenizer
from loradrift.tasks.classification.baselines import Answered, answer_log_likelihoods
from loradrift.tasks.classification.module import ClassificationTask
from loradrift.tasks.language_modeling import LanguageModelingTask
from loradrift.tasks.squad_v2 import SquadConfig
from loradrift.tasks.squad_v2.module import QuestionAnsweringTask
from loradrift.tasks.squad_v2.spans import WindowSpans, find_spans, read_answers, window_losses

IDS = torch.tensor([[1, 40, 41, 42, 43, 3, 3, 3], [1, 50, 51, 52, 53, 54, 55, 56]])
BATCH = {"input_ids": IDS, "attention_mask": IDS != 3}
BATCH |= {"labels": torch.tensor([0, 1]), "index": torch.tensor([4, 2])}
OPTIM = OptimConfig(lr=0.1, warmup_ratio=0.1, weight_decay=0.5)


@pytest.fixture
def backbone(model):
    return load_backbone(model, seed=0).eval()


@pytest.fixture
def classification(backbone):
    task = ClassificationTask(Classifier(backbone, 2, seed=0), OPTIM, total_steps=100)
    task.log_at_step = lambda values, **_: task.logged.update(values)
    task.logged = {}
    return task


def test_scores_are_those_of_the_definition_and_start_anew_at_each_evaluation(classification):
    classification.validation_step(BATCH, 0)
    classification.on_validation_epoch_end()
    logits = classification.model(IDS, IDS != 3)
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    chosen = probabilities[:, 1] > 0.5
    accuracy = (chosen == torch.tensor([False, True])).float().mean()
    loss = -(probabilities[0, 0].log() + probabilities[1, 1].log()) / 2
    logged = classification.logged
    torch.testing.assert_close(logged["validation/loss"], loss)
    assert logged["validation/accuracy"] == accuracy
    true_positives = float(chosen[1])
    assert logged["validation/f1"] == 2 * true_positives / (chosen.sum() + 1)
    first = dict(logged)
    classification.validation_step(BATCH, 0)
    classification.on_validation_epoch_end()
    assert logged == first


def test_predictions_come_in_row_order(classification):
    classification.on_test_start()
    classification.test_step(BATCH, 0)
    classification.on_test_epoch_end()
    assert [row.row for row in classification.tested] == [2, 4]
    assert all(row.label == (row.probabilities[1] > 0.5) for row in classification.tested)


@pytest.mark.parametrize("starts", [[0, 0], [3, 6], [1, 7]])
def test_logits_at_t_predict_token_t_plus_1_of_the_target_alone(backbone, starts):
    task = LanguageModelingTask(backbone, OPTIM, total_steps=10)
    loss = task.loss(BATCH | {"labels": torch.tensor(starts)})
    logits = backbone.causal_lm(input_ids=IDS).logits
    terms = [
        -logits[row, place - 1].log_softmax(0)[IDS[row, place]]
        for row, length in ((0, 5), (1, 8))
        for place in range(max(1, starts[row]), length)
    ]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_zero_shot_sums_the_answers_tokens(backbone):
    prompts, answers = [[1], [1, 50, 51, 52, 53]], [[60], [61, 62, 63]]
    together = [Answered([prompt + each for each in answers], len(prompt)) for prompt in prompts]
    scores = answer_log_likelihoods(backbone, together, pad_id=3, batch_size=1)
    for i, prompt in enumerate(prompts):
        for j, answer in enumerate(answers):
            logits = backbone.causal_lm(input_ids=torch.tensor([prompt + answer])).logits[0]
            places = enumerate(answer, start=len(prompt) - 1)
            expected = sum(logits[place].log_softmax(0)[token] for place, token in places)
            torch.testing.assert_close(scores[i, j], expected)
    lengths_differ = [Answered([[1, 40, 41, 60]], 3), Answered([[1, 50, 61, 62, 63]], 2)]
    for rows in (together, lengths_differ):
        batched = answer_log_likelihoods(backbone, rows, pad_id=3, batch_size=2)
        alone = [answer_log_likelihoods(backbone, [row], pad_id=3, batch_size=1) for row in rows]
        torch.testing.assert_close(batched, torch.cat(alone))


def test_the_learning_rate_warms_up_and_decays_to_zero(classification):
    factors = [classification._lr_factor(step) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11)  # not 0: the first step must learn
    assert factors[10] == 1 and factors[100] == 0
    assert factors[55] == pytest.approx(0.5)
    assert max(factors) == 1


def test_matrices_alone_are_decayed_and_the_head_has_a_learning_rate_of_its_own(classification):
    classification.optim.head_lr = 0.3
    groups = classification.configure_optimizers()["optimizer"].param_groups
    decay = {p.ndim: group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {2: 0.5, 1: 0.0}
    peaks = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
    assert len(peaks) == len(list(classification.model.parameters()))
    for name, p in classification.model.named_parameters():
        assert peaks[id(p)] == (0.3 if name.startswith("head") else 0.1)


def test_a_checkpoint_holds_what_trains_and_loads_into_nothing_else(model):
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, LoraConfig(name="lora", rank=2), seed=0)
    task = ClassificationTask(Classifier(backbone, 2, seed=0), OPTIM, total_steps=10)
    checkpoint = {"state_dict": dict(task.state_dict())}
    task.on_save_checkpoint(checkpoint)
    state = checkpoint["state_dict"]
    assert all("lora_" in name or "head" in name for name in state)
    assert {"model.head.weight", "model.head.bias"} < set(state)
    task.load_trained({name: torch.full_like(value, 2.0) for name, value in state.items()})
    assert all((p == 2).all() for p in task.model.parameters() if p.requires_grad)
    del state["model.head.bias"]
    with pytest.raises(ValueError, match="must hold the 30 trained parameters"):
        task.load_trained(state)


CONTEXT = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1, 1, 1]]).bool()
NUMBERS = {"starts": [4, -1], "ends": [5, -1], "index": [3, 1]}
SPANS = {"context_mask": CONTEXT, **{key: torch.tensor(each) for key, each in NUMBERS.items()}}


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
    assert window_losses(logits, SPANS, 2.0).tolist() == pytest.approx(expected, rel=1e-5)

    logits = draw(False)
    start, end = probabilities(logits, 0, null=True)
    null_start, null_end = probabilities(logits, 1, null=True)
    probability = [start[4] * end[5], null_start[0] * null_end[0]]
    expected = [-math.log(each) / 2 for each in probability]
    assert window_losses(logits, SPANS, 1.0).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", [True, False])
def test_the_best_spans_are_those_of_a_full_search(head):
    logits = draw(head)
    found = find_spans(logits, SPANS, num_best=8, max_answer=3)
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


def test_the_threshold_is_chosen_on_validation_rows_and_used_on_the_others(backbone, model, table):
    reader = SpanModel(backbone, answerability=True, seed=0)
    config = SquadConfig(name="squad_v2", max_length=24, stride=5, max_question=8, max_steps=1)
    task = QuestionAnsweringTask(reader, config, OptimConfig(), total_steps=1)
    logged = {}
    task.log_at_step = lambda values, **_: logged.update(values)
    loader = SimpleNamespace(table=table)
    task._trainer = SimpleNamespace(val_dataloaders=loader, test_dataloaders=loader)
    batch = Collator(0)(table, list(range(len(table))))
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
