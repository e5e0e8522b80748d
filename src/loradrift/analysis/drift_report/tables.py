"""What the report is made of, computed from the runs or read from the results."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.drift.find_study import find_study
from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.hypothesis_data import (
    decide_study,
    outcome_table,
    outcomes_json,
    read_outcomes,
)
from loradrift.analysis.drift.results_json import drift_results
from loradrift.analysis.drift.study_figures import HYPOTHESES, STUDY
from loradrift.analysis.drift.tables import DriftTables
from loradrift.analysis.drift_report import AnalyzeDriftConfig, HypothesesConfig, ReportConfig
from loradrift.analysis.self_check.tables import run_self_checks
from loradrift.analysis.tables import read_tables, write_tables
from loradrift.analysis.weights.figures import WEIGHTS
from loradrift.analysis.weights.tables import Weights, find_weights
from loradrift.config import AnalysisConfig, UserError
from loradrift.files import write_json
from loradrift.report.figures import check_figures
from loradrift.report.terminal import print_table
from loradrift.similarity import MEASURES, SelfCheck

ALWAYS = ("cka", "cka_biased", "cosine", "cosine_centered")
"""Measures that every analysis of drift uses."""


class Findings(NamedTuple):
    """What a report is made of."""

    study: DriftTables
    outcomes: Sequence[Outcome]
    weights: Weights
    self_checks: Sequence[SelfCheck]
    problems: Sequence[str]


def tabulate(settings: AnalyzeDriftConfig) -> Findings:
    """Compute and write the tables, from which ``analysis=report`` makes the report.

    Raises:
        UserError: If there is nothing to compare.
        SelfCheckError: If an instrument fails its self-check.
    """
    config = settings.analysis
    check_figures(config.figures, [*STUDY, *HYPOTHESES, *WEIGHTS])
    self_checks = run_self_checks(dict.fromkeys([*ALWAYS, *config.measures]), config.seed)
    pairing, study = find_study(config)
    folder = Path(config.results) / "drift_analysis"
    not_analysed = pd.DataFrame({"not analysed": pairing.problems}, dtype=object)
    write_tables(folder, study._asdict() | {"not_analysed": not_analysed})
    write_json(folder / "drift_analysis_results.json", drift_results(study))
    outcomes = decide_hypotheses(config, study)
    return Findings(
        study, outcomes, find_weights(config, pairing, study), self_checks, pairing.problems
    )


def read(settings: ReportConfig) -> Findings:
    """Read what earlier analyses wrote; no run is read.

    Raises:
        UserError: If a table is missing or damaged, or the tables are of different runs.
    """
    config = settings.analysis
    check_figures(config.figures, [*STUDY, *HYPOTHESES, *WEIGHTS])
    results = Path(config.results)
    names = [*DriftTables._fields, "not_analysed"]
    tables = read_tables(results / "drift_analysis", names, "python analyze.py")
    problems = list(tables.pop("not_analysed")["not analysed"])
    study = DriftTables(**tables)
    outcomes = read_outcomes(results / "hypotheses.json", "python analyze.py analysis=hypotheses")
    weights = Weights(
        **read_tables(results / "weights", Weights._fields, "python analyze.py analysis=weights")
    )
    if strange := sorted(_runs(weights.totals) - _runs(study.runs)):
        raise UserError(
            f"{results / 'weights'} holds {' '.join(map(str, strange[0]))}, which "
            f"{results / 'drift_analysis'} does not: `python analyze.py` makes both of the same "
            "runs"
        )
    measured = set(study.drift["measure"])
    self_checks = run_self_checks([name for name in MEASURES if name in measured], config.seed)
    return Findings(study, outcomes, weights, self_checks, problems)


def find(settings: HypothesesConfig) -> DriftTables:
    """Compute the tables of drift."""
    return find_study(settings.analysis)[1]


def decide(settings: HypothesesConfig, study: DriftTables) -> None:
    """Write and print the verdicts."""
    decide_hypotheses(settings.analysis, study)


def decide_hypotheses(config: AnalysisConfig, study: DriftTables) -> list[Outcome]:
    """Decide the hypotheses, in ``hypotheses.json`` and in the terminal."""
    outcomes = decide_study(study, config.seed)
    write_json(Path(config.results) / "hypotheses.json", outcomes_json(outcomes))
    shown = outcome_table(outcomes)[
        ["claim", "estimate %", "95 % from", "to", "p Holm", "verdict", "note"]
    ]
    print_table(shown, "Hypotheses")
    return outcomes


def _runs(table: pd.DataFrame) -> set[tuple[str, str, int]]:
    """Task, method and seed of each row."""
    return set(table[["task", "method", "seed"]].itertuples(index=False, name=None))
