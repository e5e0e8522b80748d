"""``analyze.py``: one function per analysis."""

from pathlib import Path

import pandas as pd

from loradrift.analysis.evidence import judge_study, outcome_table, outcomes_json
from loradrift.analysis.hypotheses import Outcome
from loradrift.analysis.pairing import Pairing, find_pairs
from loradrift.analysis.results_json import drift_results
from loradrift.analysis.study import Study, analyse
from loradrift.analysis.tables import write_tables
from loradrift.config import AnalysisConfig, UserError
from loradrift.files import write_json
from loradrift.report.blocks import cell_text
from loradrift.report.drawings import draw_study
from loradrift.report.html import write_html
from loradrift.report.pdf import write_pdf
from loradrift.report.study import proof_table, study_blocks
from loradrift.similarity import MEASURES, Proof, check, prove

TITLE = "Representation drift: LoRA against full fine-tuning"


def run_analysis(config: AnalysisConfig) -> None:
    """Do what ``analysis=…`` says.

    Raises:
        UserError: If something that the user can mend is wrong.
        ProofError: If an instrument fails its self-test; nothing is reported then.
    """
    match config.name:
        case "prove":
            print_table(proof_table(proven(config)), "Every proof holds")
        case "drift":
            report_drift(config)
        case "hypotheses":
            judge_hypotheses(config, find_study(config)[1])
        case name:
            raise AssertionError(f"no analysis is called {name}")


def proven(config: AnalysisConfig) -> list[Proof]:
    """The proofs of the measures in use; all hold.

    Raises:
        ProofError: If one does not.
    """
    used = dict.fromkeys(["cka", "cka_biased", "cosine", *config.measures])
    proofs = prove(MEASURES if config.name == "prove" else used, seed=config.seed)
    check(proofs)
    return proofs


def report_drift(config: AnalysisConfig) -> None:
    """Pairs, tables, figures, report; prints the summary and where the report is."""
    proofs = proven(config)
    results = Path(config.results)
    pairing, study = find_study(config)
    folder = results / "drift_analysis"
    write_tables(folder, study._asdict())
    write_json(folder / "drift_analysis_results.json", drift_results(study))
    outcomes = judge_hypotheses(config, study)
    figures = draw_study(study, outcomes, results / "figures")
    blocks = study_blocks(study, outcomes, figures, proofs, pairing.problems)
    write_html(results / "report.html", TITLE, blocks, results / "figures")
    write_pdf(results / "report.pdf", TITLE, blocks, results / "figures")
    print_table(summary_table(study), "Drift reduction of LoRA against full fine-tuning")
    print(f"report: {results / 'report.html'} and {results / 'report.pdf'}")


def find_study(config: AnalysisConfig) -> tuple[Pairing, Study]:
    """The runs that can be compared, and all tables about them."""
    pairing = find_pairs(Path(config.runs), config.study)
    print_problems(pairing)
    return pairing, analyse(pairing, config.measures, Path(config.results), config.seed)


def judge_hypotheses(config: AnalysisConfig, study: Study) -> list[Outcome]:
    """Verdicts, in ``hypotheses.json`` and in the terminal."""
    outcomes = judge_study(study)
    write_json(Path(config.results) / "hypotheses.json", outcomes_json(outcomes))
    shown = outcome_table(outcomes)[
        ["claim", "estimate %", "95 % from", "to", "p Holm", "verdict", "note"]
    ]
    print_table(shown, "Hypotheses")
    return outcomes


def print_problems(pairing: Pairing) -> None:
    """One line for everything that cannot be compared.

    Raises:
        UserError: If nothing is left.
    """
    for problem in pairing.problems:
        print(f"not analysed: {problem}", flush=True)
    if not pairing.pairs:
        raise UserError(
            "no task has a finished full_finetune and lora run with the same seed and rows: "
            "nothing to compare"
        )


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
                "95 % interval": f"{row['ci_lower']:.1f} to {row['ci_upper']:.1f}",
                "p": f"{row['p_sign_flip']:.3g} (least possible {row['least_p']:.3g})",
            }
        )
    return pd.DataFrame(rows)


def print_table(frame: pd.DataFrame, title: str) -> None:
    """A table in the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log file has no edge to fold at
    table = Table(*map(str, frame.columns), title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*map(cell_text, row))
    console.print(table)
