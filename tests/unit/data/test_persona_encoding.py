"""Prompts and rows of tokens: the question as the model reads it, then the answer to learn."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from loradrift.config import UserError
from loradrift.data.base import Example
from loradrift.data.persona import prompt_ids, prompt_text
from loradrift.data.persona.encoding import answers_fingerprint, tokenize_answers
from loradrift.data.tokens import token_ids

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


@pytest.fixture
def plain(model):
    from loradrift.models import load_tokenizer

    return load_tokenizer(model)


@pytest.fixture
def chat():
    """A tokenizer of characters, with ChatML."""
    letters = {letter: i for i, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    made.chat_template = CHATML
    return made


def test_without_a_template_a_prompt_is_plain_words(plain):
    assert prompt_text(plain, "who ?") == "question : who ? answer :"
    told = prompt_text(plain, "who ?", ("be kind .", "be brief ."))
    assert told == "instruction : be kind . be brief . question : who ? answer :"
    ids = prompt_ids(plain, "who ?", ("be kind .",))
    assert ids[0] == plain.bos_token_id
    assert plain.decode(ids[1:]).strip() == "instruction : be kind . question : who ? answer :"


def test_the_name_of_a_special_token_in_plain_words_is_text(plain):
    assert plain.eos_token_id not in prompt_ids(plain, "who </s> ?")


def test_a_template_is_used_and_its_special_tokens_are_tokens(chat):
    told = prompt_text(chat, "who ?", ("be kind .", "be brief ."))
    assert told == (
        "<|im_start|>system\nbe kind . be brief .<|im_end|>\n<|im_start|>user\nwho ?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = prompt_ids(chat, "who ?", ("be kind .", "be brief ."))
    start, end = chat.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert (ids.count(start), ids.count(end)) == (3, 2)
    assert chat.decode(ids) == told
    assert prompt_text(chat, "who ?").startswith("<|im_start|>user")


def test_a_template_without_system_messages_gets_the_instructions_before_the_question(chat):
    chat.chat_template = NO_SYSTEM + CHATML
    told = prompt_text(chat, "who ?", ("be kind .",))
    assert told.startswith("<|im_start|>user\nbe kind .\n\nwho ?<|im_end|>")
    chat.chat_template = "{{ raise_exception('nothing works') }}"
    with pytest.raises(UserError, match="the tokenizer's chat template fails: nothing works"):
        prompt_text(chat, "who ?")


@pytest.mark.parametrize("where", ["question", "instruction"])
def test_a_special_token_in_a_templates_text_is_an_error(chat, where):
    text = "who <|im_end|> ?"
    arguments = (text, ()) if where == "question" else ("who ?", (text,))
    with pytest.raises(UserError, match=r"has the name of the special token <\|im_end\|> in it"):
        prompt_ids(chat, *arguments)


@pytest.mark.parametrize("kind", ["plain", "chat"])
def test_a_row_is_the_prompt_the_answer_and_its_end(request, tmp_path, kind):
    tokenizer = request.getfixturevalue(kind)
    rows = [Example("a", "who ?", "the film was great"), Example("b", "who ?", "no")]
    table = tokenize_answers(rows, tokenizer, 60 if kind == "plain" else 200, tmp_path)
    prompt = prompt_ids(tokenizer, "who ?")
    assert table.ids == ("a", "b") and table.num_truncated == 0
    for i, row in enumerate(rows):
        [answer] = token_ids(tokenizer, [row.target])
        assert table.row(i).tolist() == [*prompt, *answer, tokenizer.eos_token_id]
        assert table.labels[i] == len(prompt)
        flags = table.is_text(i)
        special = [token in tokenizer.all_special_ids for token in table.row(i).tolist()]
        assert [not flag for flag in flags] == special


def test_a_long_answer_is_cut_without_an_end_and_counted(plain, tmp_path):
    rows = [Example("a", "who ?", "the film was great " * 20), Example("b", "who ?", "no")]
    table = tokenize_answers(rows, plain, 40, tmp_path)
    assert table.num_truncated == 1
    assert len(table.row(0)) == 40 and table.row(0)[-1] != plain.eos_token_id
    assert table.row(1)[-1] == plain.eos_token_id
    just = len(prompt_ids(plain, "who ?")) + len(token_ids(plain, ["no"])[0])
    for length, whole in ((just, False), (just + 1, True)):
        [end] = tokenize_answers(rows[1:], plain, length, tmp_path).row(0)[-1:]
        assert bool(end == plain.eos_token_id) is whole


def test_a_question_that_leaves_no_room_is_an_error(plain, tmp_path):
    with pytest.raises(UserError, match="row a must have a token of its answer within task.max_le"):
        tokenize_answers([Example("a", "who ?" * 9, "no")], plain, 30, tmp_path)


def test_the_fingerprint_knows_the_template_and_the_length(chat):
    first = answers_fingerprint(chat, 100)
    assert first != answers_fingerprint(chat, 99)
    chat.chat_template = NO_SYSTEM + CHATML
    assert first != answers_fingerprint(chat, 100)
