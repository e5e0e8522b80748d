"""Judged answers: what a model said under an instruction for or against a trait, with scores."""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.base import read_text
from loradrift.data.persona.traits import SIDES, check_trait

LARGEST_CELL = 2**27
"""Characters; Python's own bound is smaller than some answers."""

_SYSTEM = re.compile(r"<\|im_start\|>system\n(.*?)<\|im_end\|>", re.DOTALL)  # ChatML
_PLAIN = re.compile(r"instruction : (.*?) question :", re.DOTALL)


class JudgedAnswer(NamedTuple):
    """One row of a file of judged answers."""

    id: str
    """``question_id``, and which of its answers this is."""

    question: str
    answer: str
    side: str
    """``pos`` or ``neg``: what the instruction asked for."""

    score: float | None
    """Of the trait, 0 to 100; None where the judge gave none."""

    coherence: float | None
    instructions: tuple[str, ...] = ()
    """What the model was told before the question, as the prompt has it."""

    @property
    def pair(self) -> str:
        """The id without the side: two answers that have it in common are a pair."""
        return re.sub(rf"_{self.side}_(?=\d+/\d+$)", "_", self.id)


def answers_file(root: Path, trait: str, side: str) -> Path:
    """The file of a trait's answers of one side, compressed or not.

    Raises:
        UserError: If there is none; it says what the trait has, and which traits have answers.
    """
    folder = root / "persona" / "responses"
    name = f"{trait}_{side}_instruct.csv"
    found = [path for path in (folder / f"{name}.gz", folder / name) if path.is_file()]
    if found:
        return found[0]
    check_trait(root, trait)
    others = sorted(path.name.rpartition("_pos_")[0] for path in folder.glob("*_pos_instruct.csv*"))
    raise UserError(
        f"{folder / name}.gz is missing: {trait} has instructions and questions, and no judged "
        f"answers, which task=persona trains on; answers are there of {', '.join(others) or 'none'}"
    )


def read_answers(root: Path, trait: str, side: str) -> list[JudgedAnswer]:
    """Read ``persona/responses/<trait>_{pos,neg}_instruct.csv`` (``.gz``) below ``root``.

    A row whose score is missing or NaN (a judge that refused) is kept, with None for it.

    Raises:
        UserError: If the file is missing or malformed; names file and line.
    """
    assert side in SIDES
    path = answers_file(root, trait, side)
    seen: Counter[str] = Counter()
    answers = []
    for where, row in _rows(
        path, ("question", "answer", "question_id", "prompt", trait, "coherence")
    ):
        name = row["question_id"]
        score, coherence = (_score(where, key, row[key]) for key in (trait, "coherence"))
        told = _SYSTEM.search(row["prompt"]) or _PLAIN.search(row["prompt"])
        instructions = (told[1].strip(),) if told else ()
        question, answer = row["question"].strip(), row["answer"].strip()
        if not question:
            raise UserError(f"{where}: the question is empty")
        id = f"{name}/{seen[name]}"
        answers.append(JudgedAnswer(id, question, answer, side, score, coherence, instructions))
        seen[name] += 1
    return answers


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row by column, and the line where it ends, for messages."""
    csv.field_size_limit(LARGEST_CELL)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    begins = 1
    try:
        header = next(reader, [])
        if lacking := [name for name in columns if name not in header]:
            there = excerpt(", ".join(header))
            raise UserError(f"{path}, line 1: no column {', '.join(lacking)} in {there}")
        begins = reader.line_num + 1
        for cells in reader:
            where = f"{path}, line {begins}"
            begins = reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(header):
                raise UserError(f"{where}: expected {len(header)} cells, got {len(cells)}")
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}: the quoting of the row that begins in line {begins} is broken ({error})"
        ) from None


def _score(where: str, column: str, cell: str) -> float | None:
    try:
        value = float(cell) if cell.strip() else math.nan
    except ValueError:
        raise UserError(f"{where}: {column} must be a number, got {excerpt(cell)}") from None
    if math.isnan(value):
        return None
    if not 0 <= value <= 100:
        raise UserError(f"{where}: {column} must be from 0 to 100, got {excerpt(cell)}")
    return value
