"""``analyze.py``: one function per analysis."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.dashboards.dashboards import report_dashboards
from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.hypothesis_data import (
    decide_study,
    outcome_table,
    outcomes_json,
    read_outcomes,
)
from loradrift.analysis.drift.page import self_check_table, study_blocks
from loradrift.analysis.drift.pairing import Pairing, find_pairs
from loradrift.analysis.drift.pooling_self_check import pooling_self_check
from loradrift.analysis.drift.results_json import drift_results
from loradrift.analysis.drift.study_figures import draw_study
from loradrift.analysis.drift.tables import DriftTables, analyse
from loradrift.analysis.drift.usable_pairs import readable
from loradrift.analysis.pairs.page import report_pairs
from loradrift.analysis.search.page import found_edges, report_search
from loradrift.analysis.squad_v2.tables import report_squad
from loradrift.analysis.tables import read_tables, write_tables
from loradrift.analysis.weights.page import draw_weights, weight_blocks, weight_summary
from loradrift.analysis.weights.tables import Weights, analyse_weights
from loradrift.config import AnalysisConfig, AnalyzeConfig, UserError
from loradrift.diagnose.page import report_diagnosis
from loradrift.files import write_json
from loradrift.report.blocks import interval_text
from loradrift.report.html import write_html
from loradrift.report.pdf import write_pdf
from loradrift.report.terminal import print_table
from loradrift.similarity import MEASURES, SelfCheck, raise_failed, self_check

TITLE = "Representation drift: LoRA against full fine-tuning"
WEIGHTS_TITLE = "Weight changes (in brackets: of a random change)"
ALWAYS = ("cka", "cka_biased", "cosine", "cosine_centered")
"""Measures that every analysis of drift uses."""


def run_analysis(settings: AnalyzeConfig) -> None:
    """Do what ``analysis=…`` says.

    Raises:
        UserError: If something that the user can fix is wrong.
        SelfCheckError: If an instrument fails its self-test; nothing is reported then.
    """
    config = settings.analysis
    match config.name:
        case "prove":
            print_table(
                self_check_table(run_self_checks(config, MEASURES)), "Every self-check holds"
            )
        case "drift":
            report_drift(config)
        case "hypotheses":
            decide_hypotheses(config, find_study(config)[1])
        case "weights":
            report_weights(config)
        case "report":
            rebuild_report(config)
        case "squad_v2":
            assert settings.dataset is not None and settings.predictions is not None
            na_probs = None if settings.na_probs is None else Path(settings.na_probs)
            report_squad(Path(settings.dataset), Path(settings.predictions), na_probs)
        case "search":
            report_search(settings)
        case "dashboards":
            report_dashboards(settings)
        case "pairs":
            report_pairs(settings)
        case "diagnose":
            report_diagnosis(settings)
        case name:
            raise AssertionError(f"no analysis is called {name}")


def run_self_checks(config: AnalysisConfig, measures: Iterable[str]) -> list[SelfCheck]:
    """Run the self-checks of these measures and of the pooling before them; all hold.

    Raises:
        SelfCheckError: If one does not.
    """
    self_checks = pooling_self_check(seed=config.seed) + self_check(
        list(measures), seed=config.seed
    )
    raise_failed(self_checks)
    return self_checks


class Findings(NamedTuple):
    """What a report is made of."""

    study: DriftTables
    outcomes: Sequence[Outcome]
    weights: Weights
    self_checks: Sequence[SelfCheck]
    problems: Sequence[str]


def report_drift(config: AnalysisConfig) -> None:
    """Pairs, tables, figures, report; prints the summary and where the report is."""
    write_report(config, tabulate_drift(config))


def tabulate_drift(config: AnalysisConfig) -> Findings:
    """Pairs and tables, from which ``analysis=report`` makes the report.

    Raises:
        UserError: If there is nothing to compare.
        SelfCheckError: If an instrument fails its self-test.
    """
    self_checks = run_self_checks(config, dict.fromkeys([*ALWAYS, *config.measures]))
    pairing, study = find_study(config)
    folder = Path(config.results) / "drift_analysis"
    not_analysed = pd.DataFrame({"not analysed": pairing.problems}, dtype=object)
    write_tables(folder, study._asdict() | {"not_analysed": not_analysed})
    write_json(folder / "drift_analysis_results.json", drift_results(study))
    outcomes = decide_hypotheses(config, study)
    weights = find_weights(config, pairing, study)
    return Findings(study, outcomes, weights, self_checks, pairing.problems)


def report_weights(config: AnalysisConfig) -> None:
    """The tables about weights, and their summary.

    Raises:
        UserError: If no weights can be read.
    """
    weights = find_weights(config, *find_study(config))
    if weights.modules.empty:
        raise UserError("the weights of no pair can be read: nothing to compare")
    print_table(weight_summary(weights.summary), WEIGHTS_TITLE)
    print(f"tables: {Path(config.results) / 'weights'}")


def rebuild_report(config: AnalysisConfig) -> None:
    """Figures, page and PDF from what earlier analyses wrote; reads no run.

    Raises:
        UserError: If a table is missing or damaged, or the tables are of different runs.
    """
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
    self_checks = run_self_checks(config, [name for name in MEASURES if name in measured])
    write_report(config, Findings(study, outcomes, weights, self_checks, problems))


def write_report(config: AnalysisConfig, findings: Findings) -> None:
    """Figures, page and PDF; prints the summary and where they are."""
    study, outcomes, weights, self_checks, problems = findings
    results = Path(config.results)
    figures = draw_study(study, outcomes, results / "figures")
    section = weight_blocks(weights, draw_weights(weights, results / "figures"))
    blocks = study_blocks(
        study,
        outcomes,
        figures,
        weights=section,
        edges=found_edges(results, config.study),
        self_checks=self_checks,
        problems=problems,
    )
    write_html(results / "report.html", TITLE, blocks, results / "figures")
    write_pdf(results / "report.pdf", TITLE, blocks, results / "figures")
    if len(weights.summary):
        print_table(weight_summary(weights.summary), WEIGHTS_TITLE)
    print_table(summary_table(study), "Drift reduction of LoRA against full fine-tuning")
    print(f"report: {results / 'report.html'} and {results / 'report.pdf'}")


def find_study(config: AnalysisConfig) -> tuple[Pairing, DriftTables]:
    """The runs that can be compared, and all tables about them.

    Raises:
        UserError: If there are none.
    """
    results = Path(config.results)
    pairing = readable(find_pairs(Path(config.runs), config.study), config.measures, results)
    print_problems(pairing.problems)
    if not pairing.pairs:
        raise UserError(
            "no task has a finished full_finetune and lora run with the same seed and rows: "
            "nothing to compare"
        )
    return pairing, analyse(pairing, config.measures, results, config.seed)


def find_weights(config: AnalysisConfig, pairing: Pairing, study: DriftTables) -> Weights:
    """All tables about the weights of the same runs, in ``results/weights/`` too."""
    results = Path(config.results)
    weights = analyse_weights(pairing, study, Path(config.runs), results, config.seed)
    print_problems(weights.not_analysed["not analysed"])
    write_tables(results / "weights", weights._asdict())
    return weights


def decide_hypotheses(config: AnalysisConfig, study: DriftTables) -> list[Outcome]:
    """Verdicts, in ``hypotheses.json`` and in the terminal."""
    outcomes = decide_study(study, config.seed)
    write_json(Path(config.results) / "hypotheses.json", outcomes_json(outcomes))
    shown = outcome_table(outcomes)[
        ["claim", "estimate %", "95 % from", "to", "p Holm", "verdict", "note"]
    ]
    print_table(shown, "Hypotheses")
    return outcomes


def print_problems(problems: Iterable[str]) -> None:
    """One line for everything that is left out."""
    for problem in problems:
        print(f"not analysed: {problem}", flush=True)


def _runs(table: pd.DataFrame) -> set[tuple[str, str, int]]:
    """Task, method and seed of each row."""
    return set(table[["task", "method", "seed"]].itertuples(index=False, name=None))


def summary_table(study: DriftTables) -> pd.DataFrame:
    """What the terminal shows."""
    rows = []
    for row in study.summary.to_dict("records"):
        own = study.reduction[study.reduction["task"] == row["task"]]
        rows.append(
            {
                "task": row["task"],
                "seeds": str(row["seeds"]),
                "drift, full": f"{own['full_finetune'].mean():.4f}",
                "drift, LoRA": f"{own['lora'].mean():.4f}",
                "reduction %": f"{row['mean']:.1f}",
                "95 % interval": interval_text(row["ci_lower"], row["ci_upper"]),
                "p": f"{row['p_sign_flip']:.3g} (least possible {row['least_p']:.3g})",
            }
        )
    overall = study.overall.iloc[0]
    if overall["tasks"] > 1:
        p = f"{overall['p_sign_flip']:.3g} (least possible {overall['least_p']:.3g})"
        own = {"task": "all", "seeds": f"{overall['blocks']} blocks", "p": p}
        rows.append(own | {"reduction %": f"{overall['mean']:.1f}"})
    return pd.DataFrame(rows).fillna("-")
