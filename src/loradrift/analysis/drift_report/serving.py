"""H3's verdict, which another analysis makes: from its file, or else the command that measures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.files import read_json
from loradrift.report.verdicts import Verdict

MEASURES, AGAIN = "python benchmark.py", "python analyze.py analysis=serving"


def with_serving(outcomes: Sequence[Outcome], results: Path) -> list[Outcome]:
    """The outcomes, that of serving as the results of its own analysis say.

    Its verdict is kept as it is there: from the 95 % interval over the rounds of a benchmark.
    """
    path = results / "deployment" / "deployment_benchmark.json"
    return [_served(each, path) if each.hypothesis.table == "serving" else each
            for each in outcomes]  # fmt: skip


def _served(outcome: Outcome, path: Path) -> Outcome:
    try:
        saved = read_json(path)
        return replace(outcome, **_said(saved), note=_note(saved, path))
    except FileNotFoundError:
        return replace(outcome, note=f"{path} is missing: `{MEASURES}` measures it")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        note = f"{path} is damaged, or of an older version: `{AGAIN}` makes it again"
        return replace(outcome, note=note)


def _said(saved: Any) -> dict[str, Any]:
    """The verdict, and the ratio that it is read from; without a verdict times mean nothing."""
    found = saved["overhead_analysis"]["H3"]
    verdict = Verdict(found["verdict"])
    if verdict is Verdict.NO_DATA:
        return {"verdict": verdict}
    percents = [found["overhead_percent"], *found["ci_95_percent"]]
    ratios = [None if each is None else 1 + each / 100 for each in percents]
    return {"verdict": verdict} | dict(
        zip(("ratio", "ratio_lower", "ratio_upper"), ratios, strict=True)
    )


def _note(saved: Any, path: Path) -> str:
    """What the verdict stands for and rests on."""
    cell, answers = saved["benchmark"], saved["answers"]
    rests = f"{answers['answers']:,} answers checked, {answers['wrong']:,} wrong"
    if cell["status"] != "success":
        rests += f"; {cell['rounds']} of {cell['rounds_planned']} rounds, {cell['status']}"
    sentence = saved["overhead_analysis"]["H3"]["sentence"].removesuffix(".")
    return f"{sentence} ({rests}; cell {cell['cell']} in {path})"
