"""``analyze.py``: one function per analysis."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.evidence import judge_study, outcome_table, outcomes_json, read_outcomes
from loradrift.analysis.hypotheses import Outcome
from loradrift.analysis.pairing import Pairing, find_pairs
from loradrift.analysis.pooling_proof import prove_pooling
from loradrift.analysis.reading import readable
from loradrift.analysis.results_json import drift_results
from loradrift.analysis.squad_v2 import report_squad
from loradrift.analysis.study import Study, analyse
from loradrift.analysis.tables import read_tables, write_tables
from loradrift.analysis.weight_tables import Weights, analyse_weights
from loradrift.config import AnalysisConfig, AnalyzeConfig, UserError
from loradrift.files import write_json
from loradrift.report.blocks import interval_text
from loradrift.report.dashboards import report_dashboards
from loradrift.report.diagnosis import report_diagnosis
from loradrift.report.drawings import draw_study
from loradrift.report.html import write_html
from loradrift.report.pairs import report_pairs
from loradrift.report.pdf import write_pdf
from loradrift.report.search import found_edges, report_search
from loradrift.report.study import proof_table, study_blocks
from loradrift.report.terminal import print_table
from loradrift.report.weights import draw_weights, weight_blocks, weight_summary
from loradrift.similarity import MEASURES, Proof, check, prove

TITLE = "Representation drift: LoRA against full fine-tuning"
WEIGHTS_TITLE = "Weight changes (in brackets: of a random change)"
ALWAYS = ("cka", "cka_biased", "cosine", "cosine_centered")
"""Measures that every analysis of drift uses."""


def run_analysis(settings: AnalyzeConfig) -> None:
    """Do what ``analysis=…`` says.

    Raises:
        UserError: If something that the user can mend is wrong.
        ProofError: If an instrument fails its self-test; nothing is reported then.
    """
    config = settings.analysis
    match config.name:
        case "prove":
            print_table(proof_table(proven(config, MEASURES)), "Every proof holds")
        case "drift":
            report_drift(config)
        case "hypotheses":
            judge_hypotheses(config, find_study(config)[1])
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


def proven(config: AnalysisConfig, measures: Iterable[str]) -> list[Proof]:
    """The proofs of these measures and of the pooling before them; all hold.

    Raises:
        ProofError: If one does not.
    """
    proofs = prove_pooling(seed=config.seed) + prove(list(measures), seed=config.seed)
    check(proofs)
    return proofs


class Findings(NamedTuple):
    """What a report is made of."""

    study: Study
    outcomes: Sequence[Outcome]
    weights: Weights
    proofs: Sequence[Proof]
    problems: Sequence[str]


def report_drift(config: AnalysisConfig) -> None:
    """Pairs, tables, figures, report; prints the summary and where the report is."""
    write_report(config, tabulate_drift(config))


def tabulate_drift(config: AnalysisConfig) -> Findings:
    """Pairs and tables, from which ``analysis=report`` makes the report.

    Raises:
        UserError: If there is nothing to compare.
        ProofError: If an instrument fails its self-test.
    """
    proofs = proven(config, dict.fromkeys([*ALWAYS, *config.measures]))
    pairing, study = find_study(config)
    folder = Path(config.results) / "drift_analysis"
    not_analysed = pd.DataFrame({"not analysed": pairing.problems}, dtype=object)
    write_tables(folder, study._asdict() | {"not_analysed": not_analysed})
    write_json(folder / "drift_analysis_results.json", drift_results(study))
    outcomes = judge_hypotheses(config, study)
    weights = find_weights(config, pairing, study)
    return Findings(study, outcomes, weights, proofs, pairing.problems)


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
    names = [*Study._fields, "not_analysed"]
    tables = read_tables(results / "drift_analysis", names, "python analyze.py")
    problems = list(tables.pop("not_analysed")["not analysed"])
    study = Study(**tables)
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
    proofs = proven(config, [name for name in MEASURES if name in measured])
    write_report(config, Findings(study, outcomes, weights, proofs, problems))


def write_report(config: AnalysisConfig, findings: Findings) -> None:
    """Figures, page and PDF; prints the summary and where they are."""
    study, outcomes, weights, proofs, problems = findings
    results = Path(config.results)
    figures = draw_study(study, outcomes, results / "figures")
    section = weight_blocks(weights, draw_weights(weights, results / "figures"))
    blocks = study_blocks(
        study,
        outcomes,
        figures,
        weights=section,
        edges=found_edges(results, config.study),
        proofs=proofs,
        problems=problems,
    )
    write_html(results / "report.html", TITLE, blocks, results / "figures")
    write_pdf(results / "report.pdf", TITLE, blocks, results / "figures")
    if len(weights.summary):
        print_table(weight_summary(weights.summary), WEIGHTS_TITLE)
    print_table(summary_table(study), "Drift reduction of LoRA against full fine-tuning")
    print(f"report: {results / 'report.html'} and {results / 'report.pdf'}")


def find_study(config: AnalysisConfig) -> tuple[Pairing, Study]:
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


def find_weights(config: AnalysisConfig, pairing: Pairing, study: Study) -> Weights:
    """All tables about the weights of the same runs, in ``results/weights/`` too."""
    results = Path(config.results)
    weights = analyse_weights(pairing, study, Path(config.runs), results, config.seed)
    print_problems(weights.not_analysed["not analysed"])
    write_tables(results / "weights", weights._asdict())
    return weights


def judge_hypotheses(config: AnalysisConfig, study: Study) -> list[Outcome]:
    """Verdicts, in ``hypotheses.json`` and in the terminal."""
    outcomes = judge_study(study, config.seed)
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


def summary_table(study: Study) -> pd.DataFrame:
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
