"""What the tables say, in words: the report, the terminal and the JSON have the same."""

import math
from collections.abc import Mapping
from typing import Any

from loradrift.analysis.frontier.ratios import (
    APART,
    COLLAPSED,
    DIVERGED,
    EQUALS,
    LESS,
    MORE,
    NOT_LEARNED,
)
from loradrift.analysis.frontier.reading import arm_label, is_frozen
from loradrift.analysis.frontier.tables import Frontier
from loradrift.report.blocks import interval_text, p_says

Row = Mapping[str, Any]
"""Of the table of comparisons."""

WORDS = {LESS: "less drift", MORE: "more drift", EQUALS: "equal, between 0.8 and 1.25 times"}


def task_label(found: Frontier, task: str) -> str:
    """How a task is written."""
    return str(found.of("points", task)["task_label"].iloc[0])


def metric_of(found: Frontier, task: str) -> str:
    """The task's metric."""
    return str(found.of("points", task)["metric"].iloc[0])


def verdict_text(row: Row) -> str:
    """``less drift``, ``undecided: the interval holds 1``."""
    verdict = WORDS.get(row["verdict"], str(row["verdict"]))
    return f"{verdict}: {row['why']}" if row["why"] else verdict


def ratio_text(row: Row, name: str) -> str:
    """``0.7 times (95 % interval 0.6 to 0.8)``; of one seed without an interval."""
    ends = interval_text(row[f"{name}_low"], row[f"{name}_high"])
    return f"{row[name]:.3g} times ({'no interval' if ends == '-' else f'95 % interval {ends}'})"


def comparison_text(found: Frontier, row: Row) -> str:
    """One arm against the baseline on one task, in a sentence without its end."""
    metric, base = metric_of(found, row["task"]), arm_label(row["baseline"])
    if row["verdict"] == NOT_LEARNED:
        unlearned = [arm_label(arm) for arm in row["unlearned"].split(", ")]
        who = f"neither {' nor '.join(unlearned)} beats" if unlearned[1:] else ""
        return (
            f"{who or f'{unlearned[0]} does not beat'} the best constant answer, so that nothing "
            "is compared"
        )
    if row["verdict"] in (DIVERGED, COLLAPSED):
        sides = (row["label"], row["arm_from"]), (base, row["baseline_from"])
        who = " and ".join(label for label, least in sides if math.isnan(least))
        return f"{who} {row['verdict']}, so that nothing is compared"
    if row["verdict"] == APART:
        ours = interval_text(row["arm_from"], row["arm_to"])
        theirs = interval_text(row["baseline_from"], row["baseline_to"])
        winner = {"arm": row["label"], "baseline": base}.get(row["dominates"], "")
        why = f"{winner} reaches more with less drift" if winner else row["why"]
        return (
            f"no {metric} that both reach: {row['label']} {ours}, {base} {theirs}"
            f"{why and f'; {why}'}"
        )
    seeds = f"{row['num_seeds']} seed{'s' * (row['num_seeds'] != 1)}"
    said = (
        f"at equal {metric} ({interval_text(row['from'], row['to'])}) {row['label']} drifts "
        f"{ratio_text(row, 'drift')} as far as {base}, {seeds}: {verdict_text(row)}"
    )
    if row["seeds_apart"]:
        said += f" (no {metric} that both reach with seed {row['seeds_apart']})"
    for label, missing in (
        (row["label"], row["seeds_missing"]), (base, row["baseline_seeds_missing"]),
    ):  # fmt: skip
        if missing:
            said += f" ({label} has no run with seed {missing})"
    if row["grid"]:
        said += f" ({row['grid']})"
    return f"{said}; the curves cross" if row["crosses"] else said


def forgetting_text(row: Row) -> str:
    """What it forgets at equal accuracy, with the test of what is said; empty if not measured."""
    if math.isnan(row["nats"]):
        return ""
    ends = interval_text(row["nats_low"], row["nats_high"])
    nats = f"{row['nats']:+.3g} nats per token ({'no interval' if ends == '-' else ends})"
    if math.isnan(row["forgetting"]):
        said = f"forgets {nats}; no ratio, since not all of these scores cost forgetting"
    else:
        said = f"forgets {ratio_text(row, 'forgetting')} as much, {nats}"
    if row["forgetting_seeds"] != row["seeds"]:
        said += f" (with seed{'s' * (',' in row['forgetting_seeds'])} {row['forgetting_seeds']})"
    test = flips_text(row, "nats" if math.isnan(row["forgetting"]) else "forgetting")
    return f"{said}; {test}" if test else said


def flips_text(row: Row, name: str) -> str:
    """``sign-flip p = 0.25 (3 seeds reach 0.25 at least)``; empty of one seed."""
    number = len(row["seeds" if name == "drift" else "forgetting_seeds"].split(", "))
    if number < 2:
        return ""
    least = f"{number} seeds reach {row[f'{name}_least_p']:.2g} at least"
    return f"sign-flip {p_says(row[f'{name}_p'])} ({least})"


def where_text(found: Frontier, row: Row) -> str:
    """Which arm drifts less at which scores; empty where no third says so."""
    parts = found.of("parts", row["task"])
    parts = parts[parts["arm"] == row["arm"]]
    said = []
    for verdict, arm in ((LESS, row["label"]), (MORE, arm_label(row["baseline"]))):
        own = parts[parts["verdict"] == verdict]
        ends = zip(own["from"], own["to"], strict=True)
        spans = [interval_text(low, high) for low, high in ends]
        if spans:
            said.append(f"{arm} drifts less at {', '.join(spans)}")
    if row["crosses"]:
        said.append("the curves cross")
    return "; ".join(said)


def control_text(found: Frontier, task: str) -> str:
    """What the frozen backbone reaches; empty without such runs."""
    own = found.of("learned", task)
    own = own[own["arm"].map(is_frozen)]
    if own.empty:
        return ""
    score = float(own["score"].iloc[0])
    return f"a head on the frozen backbone, which does not drift, reaches {score:.3g}"


def answer(found: Frontier) -> str:
    """The page's answer: each task, its arms against the baseline, and what it rests on."""
    tasks = [_task_answer(found, task) for task in found.tasks]
    return " ".join([*tasks, f"{rests_on(found)}."])


def _task_answer(found: Frontier, task: str) -> str:
    rows = [row for row in found.compared if row["task"] == task]
    texts = [comparison_text(found, row) for row in rows]
    if not texts:
        base = arm_label(found.baseline)
        there = found.baseline in set(found.of("points", task)["arm"])
        why = f"no arm to compare with {base}"
        texts = [why if there else f"{base} has no usable run, so that nothing is compared"]
    control = control_text(found, task)
    said = " ".join(f"{text[0].upper()}{text[1:]}." for text in [*texts, control] if text)
    return f"{task_label(found, task)}: {said}"


def rests_on(found: Frontier) -> str:
    """Model, and each task's rows and seeds."""
    config = found.example(found.tasks[0]).config
    model, data = (config.get(key, {}).get("name") for key in ("model", "data"))
    said = []
    for task in found.tasks:
        rows = found.example(task).rows
        seeds = sorted({run.seed for run in found.runs if run.task == task})
        said.append(
            f"{rows.get('train', 0):,} training rows, {rows.get('evaluation', 0):,} evaluated, "
            f"seeds {', '.join(map(str, seeds))}"
        )
    if len(said) == 1:
        return f"Model {model}, data {data}, {said[0]}"
    labels = [task_label(found, task) for task in found.tasks]
    by_task = "; ".join(f"{label}: {text}" for label, text in zip(labels, said, strict=True))
    return f"Model {model}, data {data}; {by_task}"


def diverged_lines(found: Frontier) -> list[str]:
    """A line for each arm and rate at which a seed diverged."""
    table = found.tables["rates"]
    return [
        f"{row['task_label']}: {arm_label(row['arm'])} diverged at rate {row['rate']:g} with "
        f"{row['diverged']} of {row['seeds']} seeds"
        for row in table[table["diverged"] > 0].to_dict("records")
    ]
