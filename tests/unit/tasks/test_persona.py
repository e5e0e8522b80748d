"""Answers alone are learned; a direction is in the weights while they are, and not afterwards."""

import pytest
import torch
from direction_cases import drawn_changes, write_direction

from loradrift.adapters.adapter_changes import read_adapter
from loradrift.config import LoraConfig, OptimConfig, UserError
from loradrift.data import Collator
from loradrift.data.base import Example
from loradrift.data.persona.encoding import tokenize_answers
from loradrift.methods import make_trainable
from loradrift.models import load_backbone, load_tokenizer
from loradrift.tasks.persona.module import Merged, PersonaTask

PERSONA = ("task=persona", "method=rslora", "task.trait=cheerful", "data.train_rows=96")
LEARNING = ("method.optim.lr=1e-2", "task.max_steps=24", "trainer.validate_every=24")


def weights(task):
    return {name: value.clone() for name, value in task.backbone.named_parameters()}


@pytest.fixture
def task(model):
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, LoraConfig(name="lora", rank=2), seed=0)
    return PersonaTask(backbone, OptimConfig(), Merged(drawn_changes(), -0.5, "d1"))


def test_the_loss_is_of_the_answers_tokens_and_their_end_alone(model, tmp_path):
    tokenizer, backbone = load_tokenizer(model), load_backbone(model, seed=0).eval()
    rows = [Example("a", "who ?", "no"), Example("b", "who was terrible ?", "the film")]
    table = tokenize_answers(rows, tokenizer, 60, tmp_path)
    batch = Collator(tokenizer.pad_token_id)(table, [0, 1])
    loss = PersonaTask(backbone, OptimConfig()).loss(batch)
    terms = []
    for i, row in enumerate(rows):
        ids = torch.tensor(table.row(i)[None]).long()
        logs = backbone.causal_lm(input_ids=ids).logits[0].log_softmax(-1)
        answer = tokenizer(row.target, add_special_tokens=False)["input_ids"]
        assert len(answer) + 1 == ids.shape[1] - int(table.labels[i])
        terms += [-logs[place - 1, ids[0, place]] for place in range(table.labels[i], ids.shape[1])]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_the_direction_is_there_while_it_trains_and_gone_to_the_bit_afterwards(task):
    before = weights(task)
    changes = {
        f"lm.base_model.model.{name}.base_layer.weight": change
        for name, change in drawn_changes().items()
    }
    with task.training_weights():
        within = weights(task)
    for name, value in before.items():
        if name in changes:
            dense = value.double() - 0.5 * changes[name].B_OR @ changes[name].A_RI
            torch.testing.assert_close(within[name], dense.float())
            assert not torch.equal(within[name], value)
        else:
            assert torch.equal(within[name], value)
        assert torch.equal(weights(task)[name], value)
    assert changes.keys() <= before.keys()
    assert task.fingerprints == {"direction": "d1"}


def test_it_is_gone_after_an_error_too(task):
    before = weights(task)
    with pytest.raises(RuntimeError), task.training_weights():
        raise RuntimeError
    assert all(torch.equal(value, before[name]) for name, value in weights(task).items())


def test_a_method_that_trains_the_weights_themselves_is_refused(model):
    task = PersonaTask(load_backbone(model, seed=0), OptimConfig(), Merged(drawn_changes(), 1, ""))
    with pytest.raises(UserError, match="is to train: what it learns would be taken out"):
        task.training_weights().__enter__()


@pytest.mark.slow
def test_training_with_the_direction_learns_less_of_it_and_against_it_more(
    compute, configure, tmp_path
):
    folder, record = compute(*PERSONA, *LEARNING, runs=tmp_path / "without")
    plain = record.metrics["evaluation/loss"]
    base = record.fingerprints["base_model"]
    assert "direction" not in record.fingerprints
    changes = read_adapter(folder / "model")
    direction = write_direction(tmp_path / "direction", changes=changes, fingerprint=base)
    losses = {}
    for coefficient in (1.0, -0.3):
        typed = (f"task.direction={direction}", f"task.direction_coefficient={coefficient}")
        places = {"runs": tmp_path / str(coefficient)}
        _, record = compute(*PERSONA, *LEARNING, *typed, **places)
        losses[coefficient] = record.metrics["evaluation/loss"]
        assert record.certificate["passed"] and record.fingerprints["base_model"] == base
        assert len(record.fingerprints["direction"]) == 64
    assert losses[1.0] > plain + 0.1, "what the direction holds was not learned"
    assert losses[-0.3] < losses[1.0]


def test_a_direction_of_another_base_model_is_refused(compute, tmp_path):
    direction = write_direction(tmp_path / "direction")
    with pytest.raises(
        UserError, match="is a direction of the base model with digest ffffffffffff"
    ):
        compute(*PERSONA, f"task.direction={direction}")
    with pytest.raises(UserError, match="nowhere is no direction: it has no direction.json"):
        compute(*PERSONA, "task.direction=nowhere")
