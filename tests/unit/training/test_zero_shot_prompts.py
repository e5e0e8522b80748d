"""Prompts with their answers, under tokenizers that treat the seam differently; their scores."""

import pytest
import torch
from transformers import AutoTokenizer

from loradrift.config import ModelConfig
from loradrift.data import FORMATS
from loradrift.models import Backbone, load_backbone
from loradrift.tasks.classification.baselines import (
    Answered,
    answer_log_likelihoods,
    readings,
    tokenize_answers,
)


@pytest.mark.parametrize("task", ["sst2", "mrpc", "rte"])
@pytest.mark.parametrize("model", ["models/stories260K", "models/base-3M", "tokenizers/tinyllama"])
def test_question_and_answer_are_tokenised_as_one_text(shared, model, task):
    tokenizer = AutoTokenizer.from_pretrained(shared / model)
    answers = FORMATS[task].answers
    question = "a film that is worth seeing . it was"
    ids, start = tokenize_answers(tokenizer, question, answers, 64)
    for answer, tokens in zip(answers, ids, strict=True):
        assert tokens[0] == tokenizer.bos_token_id
        assert tokens[1:] == tokenizer(question + answer, add_special_tokens=False).input_ids
    assert ids[0][:start] == ids[1][:start]
    assert ids[0][start] != ids[1][start]


def test_a_long_question_loses_its_beginning(shared):
    tokenizer = AutoTokenizer.from_pretrained(shared / "models/base-3M")
    question = "the film " * 50 + "it was"
    whole, _ = tokenize_answers(tokenizer, question, (" terrible", " great"), 1000)
    ids, start = tokenize_answers(tokenizer, question, (" terrible", " great"), 20)
    assert max(map(len, ids)) == 20
    for cut, full in zip(ids, whole, strict=True):
        assert cut[1:] == full[-(len(cut) - 1) :]
    assert ids[0][:start] == ids[1][:start] and ids[0][start] != ids[1][start]


def test_an_answer_that_begins_another_is_scored_too(shared):
    tokenizer = AutoTokenizer.from_pretrained(shared / "models/base-3M")
    ids, start = tokenize_answers(tokenizer, "it was", (" no", " no way"), 64)
    assert all(len(each) > start for each in ids)


@pytest.mark.parametrize(
    ("answers", "read"),
    [
        ([[60], [61]], [[]]),  # each token of these is foretold by the prompt alone
        ([[60], [61, 62, 63]], [[61, 62]]),
        ([[60, 61], [60, 62], [60, 62, 63]], [[60, 62]]),
        ([[60, 61, 62], [63, 64]], [[60, 61], [63]]),
    ],
)
def test_what_answers_share_is_read_once(answers, read):
    prompt = [1, 50, 51]
    found = readings([Answered([prompt + each for each in answers], len(prompt))])
    assert [list(each.ids) for each in found] == [prompt + each for each in read]
    assert sorted(n for each in found for n in each.answers) == list(range(len(answers)))


@pytest.mark.parametrize(("model", "task"), [("base-3M", "sst2"), ("stories260K", "mrpc")])
def test_the_scores_are_those_of_each_answer_read_by_itself(shared, monkeypatch, model, task):
    config = ModelConfig(name="local", path=str(shared / "models" / model))
    backbone, tokenizer = (
        load_backbone(config, seed=0).eval(),
        AutoTokenizer.from_pretrained(config.path),
    )
    texts = ["a film", "dull and far too long to be worth your time , or ours", "great"]
    form, widths = FORMATS[task], []
    questions = [form.question.format(text=text, pair=text[:6]) for text in texts]
    prompts = [tokenize_answers(tokenizer, each, form.answers, 64) for each in questions]
    expected = torch.zeros(len(prompts), len(form.answers))
    with torch.no_grad():
        for i, (ids, start) in enumerate(prompts):
            for j, row in enumerate(ids):
                scores = backbone.causal_lm(torch.tensor([row])).logits[0].log_softmax(-1)
                expected[i, j] = sum(scores[t - 1, row[t]] for t in range(start, len(row)))
    encode = Backbone.encode
    monkeypatch.setattr(
        Backbone, "encode", lambda self, ids: widths.append(ids.shape[1]) or encode(self, ids)
    )
    found = answer_log_likelihoods(backbone, prompts, pad_id=0, batch_size=2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.argmax(1).tolist() == expected.argmax(1).tolist()
    assert widths == sorted(widths, reverse=True)  # rows of a length are read together


def test_the_trainers_precision_is_that_of_the_scores(compute, monkeypatch):
    seen, logits = [], Backbone.next_token_logits

    def watch(backbone, hidden):
        scores = logits(backbone, hidden)
        seen.append(scores.dtype)
        return scores

    monkeypatch.setattr(Backbone, "next_token_logits", watch)
    compute("method=zero_shot", "trainer.precision=bf16-mixed")
    assert seen[-1] == torch.bfloat16  # the first are of the trial before it
