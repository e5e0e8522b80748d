"""A question as a model reads it, with what it is told before: for training and steering.

A model with a chat template is asked in it, the instructions being the system message. One without
is asked in plain words: ``instruction : … question : … answer :``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.tokens import special_ids, token_ids


def prompt_text(tokenizer: Any, question: str, instructions: Sequence[str] = ()) -> str:
    """The prompt as text; the answer follows it.

    Raises:
        UserError: If a text has the name of a special token in it, or the template fails.
    """
    told = " ".join(instructions)
    if tokenizer.chat_template is None:
        before = f"instruction : {told} " if told else ""
        return f"{before}question : {question} answer :"
    _refuse_special(tokenizer, (question, *instructions))
    return _in_template(tokenizer, question, told)


def prompt_ids(tokenizer: Any, question: str, instructions: Sequence[str] = ()) -> list[int]:
    """The prompt's token ids; its special tokens are the template's, or begin the plain words.

    Raises:
        UserError: As :func:`prompt_text`.
    """
    text = prompt_text(tokenizer, question, instructions)
    if tokenizer.chat_template is None:
        bos, _ = special_ids(tokenizer)
        [ids] = token_ids(tokenizer, [text])
        return [*bos, *ids]
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return list(map(int, ids))


def _in_template(tokenizer: Any, question: str, told: str) -> str:
    from jinja2 import TemplateError

    def rendered(system: str, user: str) -> str:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": user})
        text: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return text

    try:
        try:
            return rendered(told, question)
        except TemplateError:
            if not told:
                raise
            # Gemma's refuses a system message: its users put that before the question
            return rendered("", f"{told}\n\n{question}")
    except TemplateError as error:
        raise UserError(f"the tokenizer's chat template fails: {excerpt(error)}") from None


def _refuse_special(tokenizer: Any, texts: Iterable[str]) -> None:
    """Text inside of a template is read with it, so that a token's name would be the token."""
    for text in texts:
        for name in tokenizer.all_special_tokens:
            if name in text:
                raise UserError(
                    f"{excerpt(text)} has the name of the special token {name} in it, which the "
                    "chat template would read as that token"
                )
