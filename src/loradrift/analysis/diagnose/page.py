"""The diagnosis of an adapter in the terminal and as JSON."""

import shutil
import sys
import textwrap
from pathlib import Path

from loradrift.adapters import Check
from loradrift.analysis.diagnose import DiagnoseConfig
from loradrift.config import UserError
from loradrift.diagnose import Diagnosis, diagnose
from loradrift.diagnose.diagnose import EMBEDDING
from loradrift.files import write_json

VERDICTS = {True: "passes", False: "fails", None: "not judged"}
HEALTH = {
    True: "applied and healthy",
    False: "not applied, or not healthy",
    None: "could not be judged",
}

COLUMNS = 100
"""Most characters of a line."""

CODE = ("from ", "import ", "python ")
"""How advice begins that is code or a command."""


def judge(settings: DiagnoseConfig) -> Diagnosis:
    """Diagnose the adapter; an error ends with 2, since 1 is a verdict."""
    try:
        return diagnose(settings.adapter, settings.base)
    except UserError as error:
        error.exit_code = settings.exit_code
        raise


def report(settings: DiagnoseConfig, found: Diagnosis) -> None:
    """Print the five tests and the diagnosis, write ``diagnosis.json``, and exit by the verdict."""
    path = Path(settings.analysis.results) / "diagnosis.json"
    write_json(path, found.to_json())
    show(found)
    print(f"written: {path}", flush=True)
    if found.exit_code:
        sys.exit(found.exit_code)


def show(found: Diagnosis) -> None:
    """The five tests and the diagnosis, in lines that the terminal holds."""
    kind = f" ({found.kind})" if found.kind else ""
    print(f"{found.adapter} on {found.base or 'no base'}{kind}\n")
    for number, test in enumerate(found.tests, start=1):
        head = f"{number} {test.name:<21}{VERDICTS[test.passed]:<11}"
        for part in _parts(test):
            print(_wrapped(part, head, " " * len(head)))
            head = " " * len(head)
    advice = found.advice
    print(_wrapped(f"diagnosis: {HEALTH[advice.healthy]}: {advice.reason}", "\n", "  "))
    print("\nuse:" if advice.healthy else "\nchange:")
    if advice.change.startswith(CODE):
        print(advice.change)  # to be pasted: neither folded nor indented
    else:
        print(_wrapped(advice.change, "  ", "  "))
    print()


def _parts(test: Check) -> list[str]:
    """The lines of a test: a failure is one sentence; what holds, and the paths tried, a list."""
    if test.passed is False and test.name != EMBEDDING:
        return [test.message]
    said = test.message.removeprefix("not judged: ") if test.passed is None else test.message
    return said.split("; ")


def _wrapped(text: str, first: str, other: str) -> str:
    return textwrap.fill(
        text,
        min(COLUMNS, shutil.get_terminal_size((COLUMNS, 0)).columns),
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )
