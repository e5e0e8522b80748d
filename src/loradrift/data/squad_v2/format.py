"""SQuAD v2's official files (Rajpurkar et al. 2018, arXiv:1806.03822)."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.config import UserError
from loradrift.config.errors import excerpt
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

    title: str  # of the article


def read_squad(path: Path, problems: list[str] | None = None) -> list[Question]:
    """Read a ``.json`` or ``.json.gz`` file.

    ``problems`` collects what spoils training but not the official evaluation, which compares ids
    and answers' texts alone: an empty id, question or context, an answer that does not stand where
    it says, ``is_impossible`` against the answers. None refuses them.

    Raises:
        UserError: If the file is missing, damaged or malformed, an id is there twice, or there is
            such a problem: names the place in the JSON.
    """
    questions: list[Question] = []
    places: dict[str, str] = {}
    for place, question in _Reader(path, problems).questions():
        if question.id in places:
            other = places[question.id]
            raise UserError(f"{path}: {place}.id is {question.id!r}, which {other} has too")
        places[question.id] = place
        questions.append(question)
    if not questions:
        raise UserError(f"{path} holds no questions")
    return questions


def read_json(path: Path, expected: str) -> Any:
    """Read a ``.json`` or ``.json.gz`` file, of which ``expected`` says what it should be.

    Raises:
        UserError: If it is missing, damaged, no JSON, or an object in it has a key twice, of
            which Python would keep the last.
    """
    if not path.is_file():
        state = "is no file" if path.exists() else "is missing"
        raise UserError(f"{path} {state}: {expected} is expected")
    text = "\n".join(read_lines(path))
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except KeyError as error:
        raise UserError(f"{path} has the key {excerpt(error)} twice in one object") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise KeyError(key)
    return content


def find_squad(root: Path, split: str) -> Path:
    """The file of a split in ``root``, or in its ``squad_v2`` if there is one.

    It is official, or mini if the training split is there as mini. The two are never mixed: the
    mini training file has paragraphs of the official dev file.

    Raises:
        UserError: If there is none.
    """
    folder = root / "squad_v2" if (root / "squad_v2").is_dir() else root
    official = any(folder.glob("train-v2.0.json*"))
    kind = "-mini" if not official and any(folder.glob("train-mini-v2.0.json*")) else ""
    path = folder / f"{split}{kind}-v2.0.json"
    for file in (path, path.with_suffix(".json.gz")):
        if file.is_file():
            return file
    raise UserError(
        f"{path} (or .json.gz) is missing: data.root must hold SQuAD v2's official files"
    )


class _Reader:
    """Walks a file and always knows the place."""

    def __init__(self, path: Path, problems: list[str] | None) -> None:
        self.path = path
        self.problems = problems

    def questions(self) -> Iterator[tuple[str, Question]]:
        """Each question and its place."""
        content = read_json(self.path, "a SQuAD v2 file")
        for here, article in self._each(content, "", "data"):
            for there, paragraph in self._each(article, here, "paragraphs"):
                context = self._get(paragraph, there, "context", str)
                if not context.strip():
                    self._odd(f"{there}.context is empty")
                title = str(article.get("title", ""))
                for place, entry in self._each(paragraph, there, "qas"):
                    yield place, self._question(place, entry, context, title)

    def _question(self, place: str, entry: Any, context: str, title: str) -> Question:
        name = self._get(entry, place, "id", str)
        question = self._get(entry, place, "question", str).strip()
        for key, text in (("id", name.strip()), ("question", question)):
            if not text:
                self._odd(f"{place}.{key} must not be empty")
        answers = self._answers(place, entry, "answers", context)
        impossible = "is_impossible" in entry and self._get(entry, place, "is_impossible", bool)
        if impossible and answers:
            self._odd(f"{place} is_impossible and has answers")
        if not impossible and not answers:
            self._odd(f"{place} has no answers and is not marked is_impossible")
        listed = "plausible_answers" in entry
        plausible = self._answers(place, entry, "plausible_answers", context) if listed else ()
        return Question(name, question, context, answers, plausible, title)

    def _answers(self, place: str, entry: Any, key: str, context: str) -> tuple[Answer, ...]:
        answers = []
        for here, each in self._each(entry, place, key):
            text = self._get(each, here, "text", str)
            start = self._get(each, here, "answer_start", int)
            found = context[max(start, 0) : max(start, 0) + len(text)]
            if not text.strip():
                self._odd(f"{here}.text is empty")
            elif start < 0:
                self._odd(f"{here}.answer_start must be at least 0, got {start}")
            elif found != text:
                at = f"at answer_start={start} the context has '{excerpt(found)}'"
                self._odd(f"{here}.text is '{excerpt(text)}', but {at}")
            answers.append(Answer(text, start))
        return tuple(answers)

    def _odd(self, problem: str) -> None:
        if self.problems is None:
            raise UserError(f"{self.path}: {problem}")
        self.problems.append(problem)

    def _each(self, value: Any, place: str, key: str) -> Iterator[tuple[str, Any]]:
        where = f"{place}.{key}" if place else key
        for i, each in enumerate(self._get(value, place, key, list)):
            yield f"{where}[{i}]", each

    def _get(self, value: Any, place: str, key: str, kind: type) -> Any:
        where = f"{place}.{key}" if place else key
        if not isinstance(value, dict):
            got = type(value).__name__
            raise UserError(f"{self.path}: {place or 'the whole'} must be of type dict, got {got}")
        if key not in value:
            raise UserError(f"{self.path}: {where} is missing")
        if type(value[key]) is not kind:  # not isinstance: True would be an int
            got = type(value[key]).__name__
            raise UserError(f"{self.path}: {where} must be of type {kind.__name__}, got {got}")
        if kind is str and (half := re.search("[\ud800-\udfff]", value[key])):
            self._odd(f"{where} holds {half[0]!a}, half of a character, at {half.start()}")
        return value[key]
