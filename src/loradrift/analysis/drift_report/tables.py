"""What the report is made of, computed from the runs or read from the results."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.drift.hypotheses import Outcome, hypotheses_about
from loradrift.analysis.drift.hypothesis_data import (
    decide_tables,
    for_readers,
    outcome_table,
    outcomes_json,
    read_outcomes,
)
from loradrift.analysis.drift.results_json import drift_results
from loradrift.analysis.drift.tables import DriftTables, compare_runs
from loradrift.analysis.drift_report import AnalyzeDriftConfig, HypothesesConfig, ReportConfig
from loradrift.analysis.drift_report.answer import answer
from loradrift.analysis.drift_report.serving import with_serving
from loradrift.analysis.labels import labelled, spelt, task_labels
from loradrift.analysis.self_check.tables import run_self_checks
from loradrift.analysis.tables import read_tables, write_tables
from loradrift.analysis.weights.tables import Weights, find_weights
from loradrift.config import UserError
from loradrift.files import write_json
from loradrift.report.terminal import print_table
from loradrift.similarity import MEASURES, SelfCheck


class Findings(NamedTuple):
    """What a report is made of."""

    tables: DriftTables
    outcomes: Sequence[Outcome]
    weights: Weights
    self_checks: Sequence[SelfCheck]
    problems: Sequence[str]

    def for_readers(self) -> "Findings":
        """The same with labels for tasks."""
        labels = task_labels(self.tables.runs)
        tables, outcomes = readable(self.tables, self.outcomes)
        weights = labelled(self.weights, labels)
        left_out = weights.not_analysed
        lines = [spelt(line, labels) for line in left_out["not analysed"]]
        return self._replace(
            tables=tables,
            outcomes=outcomes,
            weights=weights._replace(not_analysed=left_out.assign(**{"not analysed": lines})),
            problems=[spelt(problem, labels) for problem in self.problems],
        )


def tabulate(settings: AnalyzeDriftConfig) -> Findings:
    """Compute and write the tables, from which ``analysis=report`` makes the report.

    Raises:
        UserError: If there is nothing to compare.
        SelfCheckError: If an instrument fails its self-check.
    """
    config = settings.analysis
    always = ("cka", "cka_biased", "cosine", "cosine_centered")
    self_checks = run_self_checks(dict.fromkeys([*always, *config.measures]), config.seed)
    pairing, tables = compare_runs(config)
    folder = Path(config.results) / "drift_analysis"
    not_analysed = pd.DataFrame({"not analysed": pairing.problems}, dtype=object)
    write_tables(folder, tables._asdict() | {"not_analysed": not_analysed})
    outcomes = decide(settings, tables)
    said = {"answer": answer(*readable(tables, outcomes))}
    write_json(folder / "drift_analysis_results.json", drift_results(tables, outcomes) | said)
    weights = find_weights(config, pairing, tables)
    return Findings(tables, outcomes, weights, self_checks, pairing.problems)


def read(settings: ReportConfig) -> Findings:
    """Read what earlier analyses wrote; no run is read.

    Raises:
        UserError: If a table is missing or damaged, or the tables are of different runs.
    """
    config = settings.analysis
    results = Path(config.results)
    names = [*DriftTables._fields, "not_analysed"]
    read = read_tables(results / "drift_analysis", names, "python analyze.py")
    problems = list(read.pop("not_analysed")["not analysed"])
    tables = DriftTables(**read)
    arms = tables.arms
    again = f"python analyze.py analysis=hypotheses{arms.keys}"
    outcomes = read_outcomes(results / "hypotheses.json", again)
    if [outcome.hypothesis for outcome in outcomes] != [*hypotheses_about(arms)]:
        raise UserError(
            f"{results / 'hypotheses.json'} is not about {' and '.join(arms.names)}, which "
            f"{results / 'drift_analysis'} compares: `{again}` makes it again"
        )
    again = f"python analyze.py analysis=weights{arms.keys}"
    weights = Weights(**read_tables(results / "weights", Weights._fields, again))
    if strange := sorted(_runs(weights.totals) - _runs(tables.runs)):
        raise UserError(
            f"{results / 'weights'} holds {' '.join(map(str, strange[0]))}, which "
            f"{results / 'drift_analysis'} does not: `python analyze.py{arms.keys}` makes both of "
            "the same runs"
        )
    measured = set(tables.drift["measure"])
    self_checks = run_self_checks([name for name in MEASURES if name in measured], config.seed)
    return Findings(tables, outcomes, weights, self_checks, problems)


class Decided(NamedTuple):
    """The verdicts, and the tables that they are read from."""

    tables: DriftTables
    outcomes: Sequence[Outcome]


def find(settings: HypothesesConfig) -> Decided:
    """Compute the tables of drift, decide the hypotheses and write the verdicts."""
    tables = compare_runs(settings.analysis)[1]
    return Decided(tables, decide(settings, tables))


def decide(settings: AnalyzeDriftConfig | HypothesesConfig, tables: DriftTables) -> list[Outcome]:
    """Decide the hypotheses, and write the verdicts."""
    config = settings.analysis
    results = Path(config.results)
    outcomes = with_serving(decide_tables(tables, config.seed), results)
    write_json(results / "hypotheses.json", outcomes_json(tables.arms, outcomes))
    return outcomes


def show(settings: HypothesesConfig, decided: Decided) -> None:
    """Print the answer and the verdicts."""
    print_verdicts(*readable(*decided))


def readable(tables: DriftTables, outcomes: Sequence[Outcome]) -> tuple[DriftTables, list[Outcome]]:
    """Both with labels for tasks."""
    labels = task_labels(tables.runs)
    return labelled(tables, labels), for_readers(outcomes, labels)


def print_verdicts(tables: DriftTables, outcomes: Sequence[Outcome]) -> None:
    """Print the answer in one sentence, and the verdicts, of tables for readers."""
    print(answer(tables, outcomes), flush=True)
    shown = ["claim", "ratio", "95 % interval", "p", "verdict", "note"]
    print_table(outcome_table(outcomes)[shown], "Hypotheses")


def _runs(table: pd.DataFrame) -> set[tuple[str, str, int]]:
    """Task, method and seed of each row."""
    return set(table[["task", "method", "seed"]].itertuples(index=False, name=None))
