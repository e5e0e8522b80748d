"""SQuAD v2's official files (Rajpurkar et al. 2018, arXiv:1806.03822)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.config import UserError
from loradrift.data.base import read_lines


class Answer(NamedTuple):
    """A span of the context."""

    text: str
    start: int
    """Character offset of its first character."""


class Question(NamedTuple):
    """One question on one paragraph."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    """Gold answers; none if the question is unanswerable."""

    plausible: tuple[Answer, ...]
    """What an unanswerable question could be mistaken to ask for."""

    title: str
    """Of the article."""


def read_squad(path: Path) -> list[Question]:
    """Read a ``.json`` or ``.json.gz`` file.

    Raises:
        UserError: If the file is missing, damaged or malformed: names the place in the JSON. Also
            if a context is empty, an id is there twice, or a gold answer does not stand where it
            says.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: a SQuAD v2 file is expected")
    try:
        content = json.loads("\n".join(read_lines(path)))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is no JSON: {error}") from None
    questions: list[Question] = []
    places: dict[str, str] = {}
    for place, question in _questions(path, content):
        if question.id in places:
            raise UserError(
                f"{path}: {place}.id is {question.id!r}, which {places[question.id]} has too"
            )
        places[question.id] = place
        questions.append(question)
    if not questions:
        raise UserError(f"{path} holds no questions")
    return questions


def _questions(path: Path, content: Any) -> Iterator[tuple[str, Question]]:
    for a, article in enumerate(_get(path, content, "", "data", list)):
        here = f"data[{a}]"
        title = article.get("title", "") if isinstance(article, dict) else ""
        for p, paragraph in enumerate(_get(path, article, here, "paragraphs", list)):
            there = f"{here}.paragraphs[{p}]"
            context = _get(path, paragraph, there, "context", str)
            if not context.strip():
                raise UserError(f"{path}: {there}.context is empty")
            for q, entry in enumerate(_get(path, paragraph, there, "qas", list)):
                place = f"{there}.qas[{q}]"
                yield place, _question(path, place, entry, context, str(title))


def _question(path: Path, place: str, entry: Any, context: str, title: str) -> Question:
    impossible = entry.get("is_impossible", False) if isinstance(entry, dict) else False
    answers = _answers(path, place, entry, "answers", context)
    if impossible and answers:
        raise UserError(f"{path}: {place} is_impossible and has answers")
    if not impossible and not answers:
        raise UserError(f"{path}: {place} has no answers and is not marked is_impossible")
    plausible = (
        _answers(path, place, entry, "plausible_answers", context)
        if "plausible_answers" in entry
        else ()
    )
    return Question(
        _get(path, entry, place, "id", str),
        _get(path, entry, place, "question", str).strip(),
        context,
        answers,
        plausible,
        title,
    )


def _answers(path: Path, place: str, entry: Any, key: str, context: str) -> tuple[Answer, ...]:
    answers = []
    for i, each in enumerate(_get(path, entry, place, key, list)):
        here = f"{place}.{key}[{i}]"
        text = _get(path, each, here, "text", str)
        start = _get(path, each, here, "answer_start", int)
        if not text or start < 0 or context[start : start + len(text)] != text:
            found = context[max(start, 0) : max(start, 0) + len(text)]
            raise UserError(
                f"{path}: {here}.text is {text!r}, but at answer_start={start} the context has "
                f"{found!r}"
            )
        answers.append(Answer(text, start))
    return tuple(answers)


def _get(path: Path, value: Any, place: str, key: str, kind: type) -> Any:
    where = f"{place}.{key}" if place else key
    if not isinstance(value, dict) or key not in value:
        raise UserError(f"{path}: {where} is missing")
    if not isinstance(value[key], kind) or isinstance(value[key], bool):
        raise UserError(
            f"{path}: {where} must be a {kind.__name__}, got {type(value[key]).__name__}"
        )
    return value[key]
