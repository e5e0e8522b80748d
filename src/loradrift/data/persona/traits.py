"""A trait's file: contrastive instructions, questions, and what a judge is asked.

The format is that of persona vectors (Chen et al. 2025, arXiv:2507.21509): for extraction
``persona/traits/<trait>.json``, and for evaluation ``persona/traits_eval/<trait>.json``.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.config import UserError
from loradrift.config.errors import excerpt, one_of
from loradrift.data.base import read_text

PARTS = ("traits", "traits_eval")
SIDES = ("pos", "neg")
"""For the trait, and against it."""


class Instruction(NamedTuple):
    """What a model is told before the question: for the trait, and against it."""

    pos: str
    neg: str


class Trait(NamedTuple):
    """One file of a trait."""

    name: str
    instructions: tuple[Instruction, ...]
    questions: tuple[str, ...]
    eval_prompt: str
    """What a judge is asked, with ``{question}`` and ``{answer}`` in it."""


def traits_of(root: Path, part: str = "traits") -> list[str]:
    """Names of the traits that have a file below ``root``, in alphabetical order.

    Raises:
        UserError: If there is none.
    """
    folder = root / "persona" / part
    names = sorted(path.stem for path in folder.glob("*.json"))
    if not names:
        raise UserError(f"{folder} holds no trait (<trait>.json): data.root must hold persona/")
    return names


def read_trait(root: Path, name: str, part: str = "traits") -> Trait:
    """Read a trait's instructions and questions: for extraction, or those of ``traits_eval``.

    Raises:
        UserError: If the trait is unknown, or its file is malformed; names file and place.
    """
    check_trait(root, name, part)
    path = root / "persona" / part / f"{name}.json"
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must be an object with instruction, questions and eval_prompt")
    pairs = enumerate(_items(path, content, "instruction"))
    instructions = tuple(_instruction(f"{path}: instruction[{i}]", pair) for i, pair in pairs)
    asked = enumerate(_items(path, content, "questions"))
    questions = tuple(_text(f"{path}: questions[{i}]", question) for i, question in asked)
    return Trait(
        name, instructions, questions, _text(f"{path}: eval_prompt", content.get("eval_prompt"))
    )


def check_trait(root: Path, name: str, part: str = "traits") -> None:
    """Refuse a trait that has no file; the error names those that have one."""
    known = traits_of(root, part)
    if name not in known:
        raise UserError(
            f"the trait must be {one_of(known)} ({root / 'persona' / part}), got {excerpt(name)}"
        )


def _items(path: Path, content: dict[str, Any], key: str) -> list[Any]:
    items = content.get(key)
    if not isinstance(items, list) or not items:
        raise UserError(f"{path}: {key} must be a list that is not empty, got {excerpt(items)}")
    return items


def _instruction(where: str, pair: Any) -> Instruction:
    if not isinstance(pair, dict):
        raise UserError(f"{where} must be an object with pos and neg, got {excerpt(pair)}")
    return Instruction(*(_text(f"{where}.{side}", pair.get(side)) for side in SIDES))


def _text(where: str, value: Any) -> str:
    if value is None:
        raise UserError(f"{where} is missing")
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where} must be a text that is not empty, got {excerpt(repr(value))}")
    return value.strip()
