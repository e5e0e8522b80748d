"""A judge's scores of a steering cell's answers: ``judged/<judge>/<trait>.csv``.

Each file holds a row per answer, in the order of ``answers.csv``. A row is scored once: what a file
holds of an answer stands as long as question, answer and the judge's fingerprint are the same.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.files import read_json, write_atomic, write_json
from loradrift.judges.base import Item, Judge, Score, Status
from loradrift.locks import locked
from loradrift.progress import Tenths, tell

SCHEMA = 1
COLUMNS = ("id", "question", "answer", "trait", "coherence", "status")
ANSWERS = "answers.csv"


def judge_cell(folder: Path, judge: Judge, traits: Sequence[str] = ()) -> int:
    """Score a cell's answers for each trait that the judge knows, or for ``traits`` alone.

    What is scored when the judge fails, or the process is interrupted, is written before the error
    goes on.

    Returns:
        How many rows were scored now; the others were already.

    Raises:
        UserError: If ``answers.csv`` is missing or damaged, or the judge cannot answer.
    """
    items = read_answers(folder / ANSWERS)
    place = folder / "judged" / judge.name
    place.mkdir(parents=True, exist_ok=True)
    busy = f"{place} is being written by another process; waiting for it"
    with locked(place / ".lock", lambda: tell(busy)):
        spent = _begin(place, judge)
        before, now = dict(judge.costs), 0
        try:
            for trait in traits or judge.traits:
                now += _judge_trait(place / f"{trait}.csv", judge, trait, items)
        finally:
            new = {name: value - before[name] for name, value in judge.costs.items()}
            costs = {name: spent.get(name, 0) + value for name, value in new.items()}
            if counts := _counts(place, items):
                _write_facts(place, judge, {"costs": costs, "counts": counts})
    return now


def read_answers(path: Path) -> list[Item]:
    """The answers of a steering cell.

    Raises:
        UserError: If the file is missing or damaged, or an id is there twice; names the line.
    """
    items = [Item(row["id"], row["question"], row["answer"]) for row in _rows(path, Item._fields)]
    twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise UserError(f"{path} holds the answer {excerpt(twice[0])} twice")
    if not items:
        raise UserError(f"{path} holds no answer")
    return items


def read_judged(path: Path) -> list[tuple[Item, Score]]:
    """The rows of a judged file.

    Raises:
        UserError: If it is missing or damaged; names the line.
    """
    found = []
    for line, row in enumerate(_rows(path, COLUMNS), start=1):
        try:
            status = Status(row["status"])
            trait, coherence = (_number(row[key], status) for key in ("trait", "coherence"))
        except ValueError as error:
            raise UserError(f"{path}, row {line}: {error}") from None
        item = Item(row["id"], row["question"], row["answer"])
        found.append((item, Score(item.id, trait, coherence, status)))
    return found


def _number(text: str, status: Status) -> float | None:
    if status is not Status.SCORED:
        if text:
            raise ValueError(f"an answer that is {status} has no score, got {excerpt(text)}")
        return None
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError(f"a score must be between 0 and 100, got {excerpt(text)}")
    return value


def _begin(place: Path, judge: Judge) -> dict[str, float]:
    """Have ``judge.json`` say who judges, and drop the scores of another judge of that name.

    Returns:
        What the scores that stay have cost.
    """
    try:
        before = read_json(place / "judge.json")
        if before["fingerprint"] == judge.fingerprint:
            return dict(before["costs"])
    except (OSError, ValueError, LookupError, TypeError):
        pass  # without its facts nobody knows who judged
    old = sorted(place.glob("*.csv"))
    if old:
        tell(f"{place}: judge={judge.name} is another one than before: the answers are judged anew")
    for each in old:
        each.unlink()
    if old:  # else the facts come with the first score: who has scored nothing is no judge
        _write_facts(place, judge, {"costs": {}, "counts": {}})
    return {}


def _write_facts(place: Path, judge: Judge, counted: dict[str, Any]) -> None:
    own = {"schema": SCHEMA, "judge": judge.name, "fingerprint": judge.fingerprint}
    facts = own | {"traits": list(judge.traits)} | dict(judge.facts) | counted
    write_json(place / "judge.json", facts)


def _counts(place: Path, items: Sequence[Item]) -> dict[str, dict[str, int]]:
    """Trait -> how many answers have which status."""
    found = {}
    for path in sorted(place.glob("*.csv")):
        statuses = Counter(score.status for score in _read_scores(path, items).values())
        found[path.stem] = {str(status): statuses[status] for status in Status}
    return found


def _judge_trait(path: Path, judge: Judge, trait: str, items: Sequence[Item]) -> int:
    """Score what has no score yet, and write the file; the number of rows that were scored now."""
    done = _read_scores(path, items)
    left = [item for item in items if item.id not in done]
    if not left:
        return 0
    bar = Tenths(
        f"{path.parents[2].name}: {trait}, answers", len(items), done=len(done), quiet_s=30
    )
    before = len(done)
    try:
        for score in judge.score(trait, left):
            done[score.id] = score
            bar.reach(len(done))
    finally:
        if len(done) > before:
            _write(path, [(item, done[item.id]) for item in items if item.id in done])
    return len(done) - before


def _read_scores(path: Path, items: Sequence[Item]) -> dict[str, Score]:
    """What a file holds of these very answers."""
    if not path.is_file():
        return {}
    same = {item.id: item for item in items}
    return {item.id: score for item, score in read_judged(path) if same.get(item.id) == item}


def _write(path: Path, rows: Iterable[tuple[Item, Score]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)  # its own line ends: another leaves a lone carriage return unquoted
    writer.writerow(COLUMNS)
    for item, score in rows:
        numbers = ["" if each is None else repr(each) for each in (score.trait, score.coherence)]
        writer.writerow([*item, *numbers, score.status])
    with write_atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header.

    Raises:
        UserError: If it is missing, no UTF-8, lacks a column, or its quoting is broken.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing")
    csv.field_size_limit(2**31 - 1)
    line = 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            lost = [name for name in columns if name not in (reader.fieldnames or ())]
            if lost:
                raise UserError(f"{path} lacks the column {lost[0]}")
            rows = []
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise csv.Error("it has not as many cells as the header")
                rows.append(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged after line {line}: {error}") from None
    return rows
