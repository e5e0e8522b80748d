"""Cells of ``benchmark=steering``, from their files: what is damaged is one line, not the end."""

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.config.keys import flatten
from loradrift.files import read_json
from loradrift.runs import RunRecord, Status, read_record

COLUMNS = ("id", "question", "answer")
"""What a table of answers has at least."""

Row = dict[str, str]
Read = Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringCell:
    """One arm at one coefficient: what was asked, and what was answered."""

    folder: Path
    name: str
    """Its folder below ``runs/steering``: ``hf/tiny,arm=weight,coefficient=0.5``."""

    record: RunRecord
    answers: Sequence[Row]
    """One per answer: ``id``, ``question``, ``sample``, ``answer``, ``num_tokens``, ``ended``."""

    neutral: Mapping[str, Any] | None = None
    task: Mapping[str, Any] | None = None

    @property
    def trait(self) -> str:
        """The trait that is steered, and whose questions are asked."""
        return str(self.record.config["trait"])

    @property
    def arm(self) -> str:
        """How it is steered."""
        return str(self.record.config["arm"])

    @property
    def coefficient(self) -> float:
        """The dose."""
        return float(self.record.config["coefficient"])

    @cached_property
    def keys(self) -> Mapping[str, Any]:
        """The keys below ``steering``, by their names."""
        return flatten({k: v for k, v in self.record.config["steering"].items() if k != "also"})

    @property
    def also(self) -> Mapping[str, float]:
        """Other traits that are steered at the same time, each with its coefficient."""
        return dict(self.record.config["steering"].get("also") or {})

    @property
    def run(self) -> str | None:
        """The fine-tuned run whose weights answer instead of the base's."""
        run = self.keys.get("run")
        return str(run) if run else None

    @property
    def seed(self) -> int:
        """The seed of the direction's runs."""
        return int(self.keys.get("direction_seed") or 0)

    @cached_property
    def questions(self) -> list[str]:
        """The questions in the order they were asked."""
        return list(dict.fromkeys(row["question"] for row in self.answers))


def read_cells(runs: Path) -> tuple[list[SteeringCell], list[str]]:
    """All finished cells below ``<runs>/steering``, and a line for each that cannot be used.

    Raises:
        UserError: If there is none at all.
    """
    root = runs / "steering"
    cells, problems = [], []
    folders = sorted(path.parent for path in root.glob("*/*/run.json"))
    for folder in folders:
        try:
            cells.append(read_cell(folder, root))
        except UserError as error:
            problems.append(str(error))
    if not cells:
        why = f"{root} holds no finished steering cell"
        first = f" ({problems[0]})" if problems else ""
        todo = "python benchmark.py benchmark=steering trait=… arm=none,prompt,activation,weight -m"
        raise UserError(f"{why}{first}: `{todo}` makes some")
    return cells, problems


def read_cell(folder: Path, root: Path) -> SteeringCell:
    """One cell.

    Raises:
        UserError: If it is unfinished, or a file of it is missing or damaged.
    """
    record = read_record(folder)
    assert record is not None
    _check(record, folder / "run.json")
    if record.status is not Status.SUCCESS:
        raise UserError(
            f"{folder}: its status is {record.status}: `{command_of(record.overrides)}` goes on"
        )
    answers = _read(folder / "answers.csv", read_answers, record)
    if answers is None:
        raise UserError(f"{folder / 'answers.csv'} is missing: {_again(record)}")
    neutral, task = (_read(folder / f"{name}.json", _rows, record) for name in ("neutral", "task"))
    return SteeringCell(
        folder=folder,
        name=folder.relative_to(root).as_posix(),
        record=record,
        answers=answers,
        neutral=neutral,
        task=task,
    )


def read_answers(path: Path) -> list[Row]:
    """Rows of a table of texts, whose ids differ; ValueError says what is wrong with it."""
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if lost := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"it lacks the column {lost[0]}")
        rows = []
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(f"line {reader.line_num} has not as many cells as the header")
                rows.append(row)
        except csv.Error as error:
            raise ValueError(f"after line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError("it has no rows")
    twice = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"it has two rows with the id {twice[0]}")
    return rows


def command_of(overrides: Sequence[str], **replaced: str) -> str:
    """The command that makes a cell, with other values for some of its keys."""
    typed = dict(each.partition("=")[::2] for each in overrides)
    typed = {"benchmark": "steering"} | typed | replaced
    words = [
        f"'{key}={value}'" if _special(value) else f"{key}={value}" for key, value in typed.items()
    ]
    swept = any("," in value for value in replaced.values())
    return " ".join(["python benchmark.py", *words, *(["-m"] if swept else [])])


def _special(value: str) -> bool:
    return any(character in value for character in " '{}[]()$&;|<>*?~")


def _again(record: RunRecord) -> str:
    return f"`{command_of(record.overrides)} force=true` makes the cell again"


def _check(record: RunRecord, path: Path) -> None:
    """Refuse a record that does not say what was steered, and how."""
    config = record.config
    whole = {
        "trait": isinstance(config.get("trait"), str),
        "arm": isinstance(config.get("arm"), str),
        "coefficient": isinstance(config.get("coefficient"), int | float),
        "steering": isinstance(config.get("steering"), dict),
    }
    if lost := [key for key, there in whole.items() if not there]:
        raise UserError(
            f"{path} is no steering cell's: config.{lost[0]} is absent or of another type"
        )


def _rows(path: Path) -> dict[str, Any]:
    saved = read_json(path)
    if not isinstance(saved, dict) or not isinstance(saved.get("rows"), list):
        raise ValueError("an object with a list of rows is expected")
    return saved


def _read(path: Path, read: Read, record: RunRecord) -> Any:
    """What a file holds; None where there is none."""
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path} is damaged ({reason}): {_again(record)}") from None
