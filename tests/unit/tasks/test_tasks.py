"""Losses and scores against formulas that share no code; what a checkpoint holds."""

import pytest
import torch

from loradrift.config import LoraConfig, OptimConfig
from loradrift.methods import make_trainable
from loradrift.models import Classifier, load_backbone
from loradrift.tasks.classification.baselines import Answered, answer_log_likelihoods
from loradrift.tasks.classification.module import ClassificationTask
from loradrift.tasks.language_modeling import LanguageModelingTask

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
