"""Figures of doses: trait and coherence against the coefficient, and the frontier of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.looks import BAND, MARGIN_COLOR, styles
from loradrift.analysis.persona.tables import Persona
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, finish_panels, save

SPACES = (
    ("prompt", ("prompt",), "share of the instructions"),
    ("activations", ("activation", "random_activation"), "coefficient of the vectors"),
    ("weights", ("weight", "weight_positive", "bias_only", "random_weight"),
     "coefficient of the difference"),
)  # fmt: skip
"""Arms that share an axis of doses."""


def arm_of(row: Any) -> Arm:
    """The arm of a table's row."""
    return Arm(str(row["arm"]), str(row["variant"]))


def by_arm(table: pd.DataFrame) -> list[tuple[Arm, pd.DataFrame]]:
    """Rows of each arm, in the order of reports."""
    groups = {Arm(str(k), str(v)): own for (k, v), own in table.groupby(["arm", "variant"])}
    return sorted(groups.items(), key=lambda pair: pair[0].order)


def setting_text(persona: Persona) -> str:
    """How captions say what a figure stands for."""
    cell = persona.compared.judged[0].cell
    return f"Model {cell.record.coordinates.get('model')}, judge {persona.compared.judge}."


def draw_doses(persona: Persona, folder: Path) -> Sequence[Figure]:
    """Trait and coherence at every dose: a row of panels per trait, a column per space."""
    table = persona.tables["doses"]
    spaces = [each for each in SPACES if table["arm"].isin(each[1]).any()]
    if not spaces:
        return []
    traits = list(dict.fromkeys(table["trait"]))
    looks = styles([curve.arm for curve in persona.curves])
    panels = [(trait, space) for trait in traits for space in spaces]
    with canvas(len(panels), height=2.1, columns=len(spaces)) as (figure, axes):
        for each, (trait, (title, kinds, label)) in zip(axes, panels, strict=True):
            own = table[(table["trait"] == trait) & table["arm"].isin(kinds)]
            for arm, rows in by_arm(own):
                _curve(each, rows.sort_values("dose"), looks[arm], arm.text)
            each.axhline(persona.settings.coherence, color=MARGIN_COLOR, lw=0.8, ls="--")
            each.set(ylim=(-4, 104), ylabel=f"{trait}: score")
            each.set_yticks([0, 25, 50, 75, 100])
            few_ticks(each.xaxis)
            if trait == traits[0]:
                each.set_title(title)
            if trait == traits[-1]:
                each.set_xlabel(label)
        finish_panels(figure, axes)
        save(figure, folder, "doses")
    return [Figure(
        "doses",
        "Dose-response: the trait's mean score (lines with markers; bands are 95 % intervals over "
        "questions) and the coherence of the same answers (thin dotted lines) at every dose. "
        "Dashed: the coherence at which arms are compared. Doses of different columns are in "
        f"different units. {setting_text(persona)}",
    )]  # fmt: skip


def _curve(axes: Any, rows: pd.DataFrame, look: dict[str, Any], label: str) -> None:
    axes.plot(rows["dose"], rows["score"], label=label, **look)
    axes.fill_between(
        rows["dose"], rows["score_low"], rows["score_high"], color=look["color"], alpha=BAND, lw=0
    )
    axes.plot(rows["dose"], rows["coherence"], color=look["color"], lw=0.9, ls=(0, (1, 1.5)))


def draw_frontier(persona: Persona, folder: Path) -> Sequence[Figure]:
    """Trait against coherence along the doses of each arm: what is bought with what."""
    table = persona.tables["doses"]
    traits = list(dict.fromkeys(table["trait"]))
    least = min(table.loc[table["dose"] >= 0, "coherence"].min(), persona.settings.coherence)
    looks = styles([curve.arm for curve in persona.curves])
    with canvas(len(traits), height=2.9, columns=2) as (figure, axes):
        for each, trait in zip(axes, traits, strict=True):
            own = table[(table["trait"] == trait) & (table["dose"] >= 0)]
            for arm, unsorted in by_arm(own):
                rows = unsorted.sort_values("dose")
                each.plot(
                    rows["coherence"], rows["score"], label=arm.text, lw=1.2,
                    zorder=5 if arm.kind == "none" else 2, **looks[arm],
                )  # fmt: skip
            each.axvline(persona.settings.coherence, color=MARGIN_COLOR, lw=0.8, ls="--")
            each.set(xlim=(104, least - 4), ylim=(-4, 104), xlabel="coherence", title=trait)
            each.set_ylabel("trait score")
        finish_panels(figure, axes)
        save(figure, folder, "frontier")
    return [Figure(
        "frontier",
        "The frontier: the trait against the coherence of the same answers, along the doses from 0 "
        "up; the coherence falls from left to right. Better arms lie higher at the same place. "
        f"Dashed: where arms are compared. {setting_text(persona)}",
    )]  # fmt: skip


def draw_costs(persona: Persona, folder: Path) -> Sequence[Figure]:
    """What a gain costs elsewhere: loss on neutral text, accuracy on a task."""
    table = persona.tables["doses"]
    measures = [("loss_rise", "rise of neutral loss\n(nats per token)"),
                ("accuracy_loss", "lost accuracy on the task")]  # fmt: skip
    measures = [each for each in measures if table[each[0]].notna().any()]
    table = table[(table["dose"] >= 0) & (table["arm"] != "none")]
    if not measures or table.empty:
        return []
    count = table["trait"].nunique()
    looks = styles([curve.arm for curve in persona.curves])
    with canvas(len(measures), height=2.9, columns=2) as (figure, axes):
        for each, (name, label) in zip(axes, measures, strict=True):
            for arm, rows in by_arm(table):
                means = rows.groupby("dose")[["gain", name]].mean()
                whole = means[rows.groupby("dose")["trait"].nunique() == count].dropna()
                if len(whole):
                    each.plot(whole["gain"], whole[name], label=arm.text, lw=1.2, **looks[arm])
            each.axhline(0, color="black", lw=0.8)
            each.set(xlabel="trait gained (points)", ylabel=label)
        finish_panels(figure, axes)
        save(figure, folder, "costs")
    return [Figure(
        "costs",
        "What a gain costs elsewhere, along the doses from 0 up: nats per token of text that has "
        "nothing to do with the traits, and accuracy on a task, both against no steering on the "
        f"same rows; means over traits. {setting_text(persona)}",
    )]  # fmt: skip
