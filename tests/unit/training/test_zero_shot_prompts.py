"""Prompts with their answers, under tokenizers that treat the seam differently."""

import pytest
from transformers import AutoTokenizer

from loradrift.data import FORMATS
from loradrift.tasks.classification.baselines import tokenize_answers


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
