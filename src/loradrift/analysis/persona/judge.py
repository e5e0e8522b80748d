"""The judge of a report: how well it agreed with answers held out, and what it cannot see."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from loradrift.analysis.persona.tables import Persona
from loradrift.report.blocks import Block, Paragraph, Table, interval_text

FIGURES = ("accuracy", "kappa", "auroc", "pearson")
"""Figures of agreement that are shown, as ``judge.json`` names them."""


def agreement_table(facts: Mapping[str, Any]) -> pd.DataFrame:
    """One row per trait, and one of coherence; empty where the judge says nothing of agreement."""
    found = facts.get("agreement") or {}
    parts: dict[str, Any] = {**found.get("traits", {}), "coherence": found.get("coherence")}
    rows = []
    for name, figures in parts.items():
        row: dict[str, Any] = {"score": name}
        for key in FIGURES:
            each = figures.get(key) if isinstance(figures, Mapping) else None
            if isinstance(each, Mapping):
                ends = interval_text(each.get("low"), each.get("high"))
                row |= {key: each.get("estimate"), f"{key}, 95 %": ends}
        if len(row) > 1:
            rows.append(row)
    return pd.DataFrame(rows)


def judge_text(persona: Persona) -> str:
    """The judge in a line."""
    table = agreement_table(persona.compared.judged[0].facts)
    asked = {curve.steered for curve in persona.curves}
    own = table[table["score"].isin(asked)] if len(table) else table
    said = [persona.compared.judge]
    if len(own) and "accuracy" in own:
        said += [f"{row['score']} {100 * row['accuracy']:.3g} %" for _, row in own.iterrows()]
        return f"{said[0]}; agreement on questions held out: {', '.join(said[1:])}"
    return said[0]


def judge_blocks(persona: Persona) -> list[Block]:
    """The section about the judge."""
    facts = persona.compared.judged[0].facts
    table = agreement_table(facts)
    blocks: list[Block] = []
    if len(table):
        coherence = (facts.get("agreement") or {}).get("coherence") or {}
        caption = (
            f"How well {persona.compared.judge} agrees with the scores that it was held out from "
            "(accuracy and kappa: of a trait of at least 50, and of a coherence of at least "
            f"{coherence.get('line', 50):g}), with 95 % intervals over questions."
        )
        blocks.append(Table(table, caption))
    limits = facts.get("limits") or []
    return [*blocks, *(Paragraph(str(line)) for line in limits)]
