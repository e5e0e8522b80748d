"""The diagnosis of an adapter in the terminal and as JSON."""

import sys
from pathlib import Path

import pandas as pd

from loradrift.certify import Diagnosis, diagnose
from loradrift.config import AnalyzeConfig
from loradrift.files import write_json
from loradrift.report.terminal import print_table

VERDICTS = {True: "passes", False: "fails", None: "not judged"}
HEALTH = {
    True: "applied and healthy",
    False: "not applied, or not healthy",
    None: "could not be judged",
}


def report_diagnosis(settings: AnalyzeConfig) -> None:
    """Print the five tests and the diagnosis, and write ``diagnosis.json``.

    Raises:
        UserError: If there is no adapter.
        SystemExit: With 1 if the adapter is not applied or not healthy, 2 if that could not be
            judged.
    """
    assert settings.adapter is not None
    found = diagnose(settings.adapter, settings.base)
    path = Path(settings.analysis.results) / "diagnosis.json"
    write_json(path, found.to_json())
    show(found)
    print(f"written: {path}", flush=True)
    if found.exit_code:
        sys.exit(found.exit_code)


def show(found: Diagnosis) -> None:
    """The tables and the diagnosis."""
    rows = [
        {
            "": str(number),
            "test": test.name,
            "verdict": VERDICTS[test.passed],
            "found": test.message,
        }
        for number, test in enumerate(found.tests, start=1)
    ]
    kind = f" ({found.kind})" if found.kind else ""
    print_table(pd.DataFrame(rows), f"{found.adapter} on {found.base or 'no base'}{kind}")
    print(f"diagnosis: {HEALTH[found.advice.healthy]}: {found.advice.reason}")
    print(f"{'use' if found.advice.healthy else 'change'}: {found.advice.change}")
