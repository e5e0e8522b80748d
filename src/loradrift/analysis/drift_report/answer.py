"""What a reader sees first: the answer in one sentence, what it rests on, and the verdicts.

All of it takes tables and outcomes with labels for tasks.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.hypothesis_data import ratios_text
from loradrift.analysis.drift.learned import not_learned
from loradrift.analysis.drift.tables import DriftTables
from loradrift.report.blocks import Answer, Block, Card, Cards, Facts, interval_text, p_says
from loradrift.report.verdicts import Verdict, verdict_color

SOURCES = {
    "embedded": "generated data",
    "local": "data from local files",
    "hub": "data from the Hugging Face hub",
}
"""Where rows come from, by ``data.name``."""


def answer(tables: DriftTables, outcomes: Sequence[Outcome]) -> str:
    """How far the treatment drifts against the control, in one sentence.

    Where tasks disagree, and where no seed has all of them, each task has its own ratio. Tasks that
    were not learned take no part.
    """
    unlearned = not_learned(tables.learned)
    known = tables.summary[~tables.summary["task"].isin(unlearned)]
    drift = next(each for each in outcomes if each.hypothesis.table == "drift")
    without = (
        f" Not learned, and without a part in it: {', '.join(unlearned)}." if unlearned else ""
    )
    if known.empty:
        return f"{_setting(tables)}, no task was learned, so its drift answers nothing.{without}"
    seeds = tables.reduction.pivot(index="seed", columns="task", values="log_ratio")
    complete = seeds[list(known["task"])].dropna()
    verdict = f"{drift.hypothesis.name.split()[0]} {drift.verdict}"
    apart = "the tasks disagree" if drift.tasks_disagree else ""
    apart = apart or ("no seed has every task" if complete.empty else "")
    if not apart and len(known) > 1 and len(complete) < 3:
        apart = "too few seeds show whether the tasks agree"
    if apart:
        said = f"{apart}, so no mean is given: {_each_task(tables, known)}"
    else:
        low, high = drift.ratio_lower, drift.ratio_upper
        ratio = float(np.exp(complete.mean(axis=1).mean())) if drift.ratio is None else drift.ratio
        counts = f"{_count(len(complete), 'seed')}, {_count(len(known), 'task')}"
        said = f"{_drifts(tables, ratio)} ({_interval(low, high)}; {counts})"
    return f"{_setting(tables)}, {said}: {verdict}.{without}"


def _drifts(tables: DriftTables, ratio: float) -> str:
    control, treatment = (arm.label for arm in tables.arms)
    return f"{treatment} drifts {_digits(ratio)} times as far as {control}"


def _digits(ratio: float) -> str:
    """Three digits, as numbers are said."""
    return np.format_float_positional(ratio, 3, fractional=False, trim="-")


def _each_task(tables: DriftTables, known: pd.DataFrame) -> str:
    """The ratio of each task with its interval, for other rows too as H2's is."""
    rows: Any = known.itertuples()
    said = [
        f"{_digits(row.ratio)} times on {row.task} "
        f"({_interval(row.ratio_lower_any_text, row.ratio_upper_any_text)}; "
        f"{_count(row.seeds, 'seed')})"
        for row in rows
    ]
    first = f"{_drifts(tables, known['ratio'].iloc[0])} on" + said[0].partition(" on")[2]
    return ", ".join([first, *said[1:]])


def _interval(low: float | None, high: float | None) -> str:
    text = interval_text(low, high)
    return "no interval" if text == "-" else f"95 % interval {text}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _setting(tables: DriftTables) -> str:
    """``On generated data and a 1.0 M-parameter model``."""
    return f"On {_sources(tables.runs)} and {_models(tables, short=True)}"


def _sources(runs: pd.DataFrame) -> str:
    """Where the rows come from."""
    return _joined(SOURCES.get(each, "data of unknown origin") for each in runs["data"].fillna(""))


def _models(tables: DriftTables, *, short: bool) -> str:
    """The models and their sizes; an adapter's arm counts what it adds, the control mostly not."""
    runs = tables.runs.assign(model=tables.runs["model"].fillna("a model without a name"))
    texts = []
    for model, own in runs.groupby("model", sort=False):
        size = _size(own["parameters"].min())
        if model == "tiny":
            made = f"a {size}-parameter model" if size else "a small model"
            texts.append(made if short else f"{made} (tiny), pretrained here on generated text")
        else:
            texts.append(f"{model} ({size} parameters)" if size else str(model))
    return _joined(texts)


def _size(parameters: float) -> str:
    """A number of parameters; empty where it is not known."""
    if pd.isna(parameters):
        return ""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit * 0.9:
            return f"{parameters / unit:.2g} {name}" if parameters < 100 * unit else (
                f"{parameters / unit:.0f} {name}"
            )  # fmt: skip
    return f"{parameters:.0f}"


def _joined(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(texts))


def rests_on(tables: DriftTables) -> Facts:
    """Model, data, rows, seeds, recipe, code and machine; what no record says is left out."""
    runs, tasks = tables.runs, ", ".join(tables.summary["task"])
    seeds = sorted(runs["seed"].unique())
    rows = [
        ("Model", _models(tables, short=False)),
        ("Data", f"{_sources(runs)}: {tasks}"),
        ("Rows", _rows(runs)),
        ("Seeds", f"{len(seeds)} ({', '.join(map(str, seeds))})"),
        ("Recipe", _recipe(tables)),
        ("Made with", ", ".join(filter(None, [*runs["versions"].dropna().unique(), _code(runs)]))),
        ("Made", _when(runs)),
    ]
    return Facts([(name, text) for name, text in rows if text])


def _span(values: pd.Series, form: str = ",.0f") -> str:
    """The one value, or the least and the largest; empty if there is none."""
    known = values.dropna().astype(float)
    ends = dict.fromkeys(f"{each:{form}}" for each in (known.min(), known.max()))
    return " to ".join(ends) if len(known) else ""


def _rows(runs: pd.DataFrame) -> str:
    kinds = {
        "train_rows": "to train on",
        "evaluation_rows": "to evaluate on",
        "probe_rows": "in the probe",
    }
    spans = {words: _span(runs[name]) for name, words in kinds.items()}
    return ", ".join(f"{span} {words}" for words, span in spans.items() if span)


def _recipe(tables: DriftTables) -> str:
    """Training's length, and each arm's learning rate and whether a search gave it."""
    budget, runs = tables.budget, tables.runs
    steps, epochs = _span(budget["steps"]), _span(budget["epochs"], ".2g")
    text = f"{steps} steps" + (f" ({epochs} epoch{'s' * (epochs != '1')})" if epochs else "")
    text += f", {_span(budget['rows_seen'] / budget['steps'])} rows a step"
    for arm in tables.arms:
        own = runs[runs["method"] == arm.name]
        if rate := _span(own["learning_rate"], ".3g"):
            how = "searched" if own["searched"].all() else "not searched"
            how = "searched in part" if own["searched"].any() and how != "searched" else how
            text += f"; {arm.label}: learning rate {rate} ({how})"
    return text


def _code(runs: pd.DataFrame) -> str:
    commits = ", ".join(dict.fromkeys(str(each)[:10] for each in runs["commit"].dropna()))
    changed = runs["changed_code"].fillna(value=False).astype(bool).any()
    return f"commit {commits}" + (", with changes" if changed else "") if commits else ""


def _when(runs: pd.DataFrame) -> str:
    days = sorted({str(each)[:10] for each in runs["ended"].dropna()})
    dates = " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""
    return ", ".join(filter(None, [dates, _joined(filter(None, runs["device"].dropna()))]))


def cards(outcomes: Sequence[Outcome]) -> Cards:
    """A card for each hypothesis that there are data for."""
    return Cards([_card(each) for each in outcomes if each.verdict != Verdict.NO_DATA])


def _card(outcome: Outcome) -> Card:
    claim, lines = outcome.hypothesis, []
    if outcome.tasks_disagree:
        lines.append(f"tasks disagree: {ratios_text(outcome)}")
    elif outcome.ratio is not None:
        interval = _interval(outcome.ratio_lower, outcome.ratio_upper)
        lines.append(f"ratio {_digits(outcome.ratio)} ({interval}); margin {claim.margin:g}")
    if outcome.p_of_verdict is not None:
        lines.append(f"{p_says(outcome.p_of_verdict)}; a verdict takes 0.005")
    else:  # no data, or no spread to make a p-value of
        lines.append(outcome.note)
    color = verdict_color(outcome.verdict)
    return Card(claim.name, claim.claim, str(outcome.verdict), lines, color)


def first_screen(tables: DriftTables, outcomes: Sequence[Outcome]) -> list[Block]:
    """The answer, and what it rests on."""
    return [Answer(answer(tables, outcomes)), rests_on(tables)]
