"""``analysis=judges``: tables and figures become a page, a file of figures, and lines."""

import math
from typing import Any

import pandas as pd

from loradrift.analysis.judges import AnalyzeJudgesConfig
from loradrift.analysis.judges.figures import JUDGES
from loradrift.analysis.judges.tables import COHERENCE, HALF, LINES, Compared
from loradrift.config.errors import excerpt
from loradrift.files import write_json
from loradrift.report.blocks import Answer, Block, Heading, Paragraph, Table
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.report.terminal import print_table

FIGURES = {
    "kappa": "kappa", "pearson": "r", "cell_pearson": "r of cells", "accuracy": "called alike",
    "difference": "first less second",
}  # fmt: skip
"""Figure -> its column."""


def report(settings: AnalyzeJudgesConfig, compared: Compared) -> None:
    """Write ``judges.json`` and ``report.html`` beside the tables; print the agreement."""
    read, folder = compared.read, compared.folder
    rows = [{key: _number(value) for key, value in row.items()}
            for row in compared.agreement.to_dict("records")]  # fmt: skip
    facts = {"first": read.first, "second": read.second, "agreement": rows, "judges": read.facts}
    write_json(folder / "judges.json", facts)
    figures = Figures(folder / "figures", settings.analysis.figures, (JUDGES, compared))
    title = f"Agreement of {read.first} and {read.second}"
    write_html(folder / "report.html", title, blocks(compared, figures), figures.folder)
    print_table(shown(compared.agreement), title)
    print(answer(compared))
    print(f"report: {folder / 'report.html'}", flush=True)


def blocks(compared: Compared, figures: Figures) -> list[Block]:
    """Compose the page."""
    read = compared.read
    return [
        Answer(answer(compared)),
        Table(
            shown(compared.agreement),
            f"Agreement of {read.first} (first) with {read.second} (second) on the answers that "
            "both scored, with 95 % intervals over questions. Kappa and the share called alike are "
            f"of traits from {HALF:g} on, and of coherence from {LINES[COHERENCE]:g} on; r of "
            "cells is of the cells' means.",
        ),
        Heading("Scores"),
        *figures["judges_scores"],
        Heading("Cells"),
        *figures["judges_cells"],
        Heading("Largest disagreements"),
        Table(_examples(compared), "The answers on which the two differ most, of each measure."),
        Heading("What the judges are"),
        *(Paragraph(line) for line in _judges(compared)),
    ]


def answer(compared: Compared) -> str:
    """The sentence that the page is there for."""
    read = compared.read
    traits = compared.agreement[compared.agreement["measure"] != COHERENCE]
    known = traits[traits["kappa"].notna()]
    scored, answers = int(traits["both scored"].sum()), int(traits["answers"].sum())
    begin = f"{read.first} and {read.second} both scored {scored} of {answers} judgements of traits"
    if known.empty:
        return f"{begin}; kappa is not defined, because one of them calls all answers alike."
    kappas = known["kappa"].to_numpy()
    low, high = known.iloc[int(kappas.argmin())], known.iloc[int(kappas.argmax())]
    if len(known) == 1:
        return f"{begin}: kappa is {_kappa(low)} for {low['measure']}."
    return (
        f"{begin}: kappa is lowest for {low['measure']}, {_kappa(low)}, and highest for "
        f"{high['measure']}, {_kappa(high)}."
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The agreement as people read it."""
    counts = table[["measure", "answers", "both scored", "first alone", "second alone"]].copy()
    for name, column in FIGURES.items():
        counts[column] = [
            _figure(value, low, high, 1 if name == "difference" else 2)
            for value, low, high in zip(
                table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True
            )
        ]
    return counts


def _kappa(row: "pd.Series[Any]") -> str:
    return _figure(row["kappa"], row["kappa_low"], row["kappa_high"], 2)


def _figure(value: float, low: float, high: float, digits: int) -> str:
    if math.isnan(value):
        return "-"
    interval = "" if math.isnan(low) else f" ({low:.{digits}f} to {high:.{digits}f})"
    return f"{value:.{digits}f}{interval}"


def _examples(compared: Compared) -> pd.DataFrame:
    columns = ["measure", "arm", "coefficient", "question", "answer", "first", "second"]
    table = compared.examples[columns].copy()
    for name in ("question", "answer"):
        table[name] = [excerpt(text) for text in table[name]]
    return table


def _judges(compared: Compared) -> list[str]:
    """What each judge says that it cannot see."""
    return [
        f"{name}: {line}"
        for name, facts in compared.read.facts.items()
        for line in facts.get("limits", [])
    ]


def _number(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, str):
        return value
    number = float(value)
    if math.isnan(number):
        return None
    return int(number) if number.is_integer() and not isinstance(value, float) else number
