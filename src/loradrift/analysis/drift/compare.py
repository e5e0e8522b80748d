"""The runs that can be compared, and all tables about them."""

from collections.abc import Iterable
from pathlib import Path

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.pairing import Pairing, find_pairs
from loradrift.analysis.drift.tables import DriftTables, analyse
from loradrift.analysis.drift.usable_pairs import readable
from loradrift.config.analysis import ComparisonConfig
from loradrift.config.errors import UserError


def compare_runs(config: ComparisonConfig) -> tuple[Pairing, DriftTables]:
    """Read the runs and compute the tables.

    Raises:
        UserError: If no runs can be compared.
    """
    results = Path(config.results)
    arms = Arms.of(config.control, config.treatment)
    found = find_pairs(Path(config.runs), config.study, arms)
    pairing = readable(found, config.measures, results)
    print_problems(pairing.problems)
    if not pairing.pairs:
        raise UserError(
            f"no task has finished runs of {' and '.join(arms.names)} with the same seed and rows: "
            "nothing to compare"
        )
    return pairing, analyse(pairing, config.measures, results, config.seed)


def print_problems(problems: Iterable[str]) -> None:
    """Print one line for everything that is left out."""
    for problem in problems:
        print(f"not analysed: {problem}", flush=True)
