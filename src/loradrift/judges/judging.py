"""``benchmark=judging``: the answers of all steering cells, scored again with another judge."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.config.benchmarks import refuse_training_keys
from loradrift.config.keys import typed_keys
from loradrift.judges.config import JudgingBenchmarkConfig, resolve_judge
from loradrift.judges.costs import cost_line
from loradrift.judges.judged import judge_cell
from loradrift.judges.opening import open_judge
from loradrift.progress import tell
from loradrift.runs import Status, read_record

COMMAND = "python benchmark.py benchmark=steering"
USED = ("benchmark", "judge", "data", "scale", "runs", "results", "cache")
"""What may be typed: the first parts of keys."""


def run(config: JudgingBenchmarkConfig, overrides: Sequence[str]) -> None:
    """Score the answers of every finished steering cell below ``runs``; what is scored stands.

    Raises:
        UserError: If there is no cell, a key has no effect, or the judge cannot answer: what it
            has scored is kept, and the same command goes on.
    """
    typed = typed_keys(overrides)
    for key in sorted(typed):
        if key.partition(".")[0] not in USED:
            raise UserError(f"{key} has no effect with benchmark=judging, which generates nothing")
    refuse_training_keys(config, typed)
    judge = resolve_judge(config.judge, config.data)
    if judge.name == "none":
        raise UserError("judge=none scores nothing: judge=oracle, classifier or endpoint does")
    folders = list(_cells(config))
    with open_judge(judge, config.data, Path(config.cache)) as opened:
        scored = 0
        for done, folder in enumerate(folders):
            try:
                scored += judge_cell(folder, opened, judge.traits)
            except UserError as error:
                raise UserError(
                    f"{error}; {done} of {len(folders)} cells are judged, the scores of others are "
                    "kept, and the same command goes on"
                ) from None
        tell(f"judge={opened.name}: {len(folders)} cells are judged, {scored} scores are new")
        if opened.costs:
            tell(cost_line(opened.costs))


def _cells(config: JudgingBenchmarkConfig) -> Iterator[Path]:
    """The folders of finished steering cells whose answers are to questions of ``config.data``.

    Raises:
        UserError: If there is none.
    """
    root = Path(config.runs, "steering")
    others: dict[str, int] = {}
    found = unfinished = 0
    for path in sorted(root.glob("*/*/run.json")):
        record = read_record(path.parent)
        if record is None or record.kind != "steering":
            continue
        if record.status is not Status.SUCCESS:
            unfinished += 1
        elif _source(data := record.config.get("data", {})) != _source(vars(config.data)):
            others[_typed(data)] = others.get(_typed(data), 0) + 1
        else:
            found += 1
            yield path.parent
    notes = [f"{count} are of {source}" for source, count in sorted(others.items())]
    notes += [f"{unfinished} are not finished"] if unfinished else []
    if not found:
        why = f" of {_typed(vars(config.data))} ({', '.join(notes)})" if notes else ""
        raise UserError(f"{root} holds no finished steering cell{why}: `{COMMAND}` makes one")
    if notes:
        tell(f"cells that are left out: {', '.join(notes)}")


def _source(data: Mapping[str, Any]) -> tuple[object, ...]:
    """What tells one source of questions from another."""
    if data.get("name") == "local":
        return "local", Path(str(data.get("root"))).resolve()
    return data.get("name"), data.get("seed")


def _typed(data: Mapping[str, Any]) -> str:
    """How a source of questions is typed."""
    if data.get("name") == "local":
        return f"data=local data.root={data.get('root')}"
    return f"data={data.get('name')} data.seed={data.get('seed')}"
