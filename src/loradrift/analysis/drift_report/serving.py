"""H3's verdict, which another analysis makes: from its file, or else the command that measures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.serving.verdict import rounds_text
from loradrift.files import read_json
from loradrift.report.verdicts import Verdict

FILE = Path("deployment", "deployment_benchmark.json")
"""Below the folder of results."""

MEASURES, AGAIN = "python benchmark.py", "python analyze.py analysis=serving"


def with_serving(outcomes: Sequence[Outcome], results: Path) -> list[Outcome]:
    """The outcomes, that of serving as the results of its own analysis say.

    Its verdict is kept as it is there: from the 95 % interval over the rounds of a benchmark.
    """
    return [_served(each, results) if each.hypothesis.table == "serving" else each
            for each in outcomes]  # fmt: skip


def _served(outcome: Outcome, results: Path) -> Outcome:
    path = results.name / FILE  # a report may be read elsewhere
    try:
        saved = read_json(results / FILE)
        return replace(outcome, **_said(saved), note=_note(saved, path))
    except FileNotFoundError:
        return replace(outcome, note=f"{path} is missing: `{MEASURES}` measures it")
    except (OSError, ValueError, LookupError, TypeError):
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
    found, cell, answers = saved["overhead_analysis"]["H3"], saved["benchmark"], saved["answers"]
    said = [f"on {found['stands_for']}", f"batch {found['batch']}, {rounds_text(found['rounds'])}"]
    if cell["status"] != "success":
        said.append(f"{cell['rounds']} of {cell['rounds_planned']} rounds, {cell['status']}")
    said += [found["why"]] if found["why"] else []
    said.append(f"{answers['answers']:,} answers checked, {answers['wrong']:,} wrong")
    return "; ".join([*said, f"cell {cell['cell']} in {path}"])
