"""The tables of equivalence, and the answers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.tables import Persona
from loradrift.analysis.persona.verdicts import arm_means
from loradrift.report.blocks import Block, Table, interval_text


def summary_block(persona: Persona) -> list[Block]:
    """Every arm over all traits: what is gained, and what it costs at the best measured dose."""
    gains, doses = persona.tables["gains"], persona.tables["doses"]
    gains = gains[(gains["side"] == "raise") & (gains["arm"] != "none")]
    at = gains.rename(columns={"measured_dose": "dose"})[["trait", "arm", "variant", "dose"]]
    costs = at.merge(doses, on=["trait", "arm", "variant", "dose"], how="inner")
    rows = []
    for arm, difference in arm_means(persona.reached).items():
        own = costs[(costs["arm"] == arm.kind) & (costs["variant"] == arm.variant)]
        mean = own[["coherence", "loss_rise", "accuracy_loss"]].mean()
        rows.append(
            {
                "arm": arm.text,
                "trait gained": difference.estimate,
                "95 %": interval_text(difference.low, difference.high),
                "traits with a coherent dose": len(own),
                "coherence there": mean["coherence"],
                "rise of neutral loss there": mean["loss_rise"],
                "lost accuracy there": mean["accuracy_loss"],
            }
        )
    if not rows:
        return []
    return [
        Table(
            pd.DataFrame(rows).dropna(axis="columns", how="all"),
            f"Every arm, means over traits: the trait gained at a coherence of at least "
            f"{persona.settings.coherence:g}, and what the best measured dose that coherent costs "
            "elsewhere (nats per token, share of right answers).",
        )
    ]


def gains_block(persona: Persona) -> list[Block]:
    """Every arm at matched coherence."""
    frame = persona.tables["gains"]
    shown = pd.DataFrame(
        {
            "trait": frame["trait"],
            "arm": [Arm(*pair).text for pair in zip(frame["arm"], frame["variant"], strict=True)],
            "side": frame["side"],
            "best dose": frame["best_dose"],
            "score": frame["best_trait"],
            "gain": frame["gain"],
            "gain, 95 %": ends_text(frame, "gain"),
            "area": frame["area"],
            "area, 95 %": ends_text(frame, "area"),
            "best measured dose": frame["measured_dose"],
            "score by seed": frame["by_seed"],
            "note": [note_text(row) for row in frame.to_dict("records")],
        }
    )
    shown = shown if frame["by_seed"].any() else shown.drop(columns="score by seed")
    at = persona.settings.coherence
    return [
        Table(
            shown,
            f"Trait gained at a coherence of at least {at:g}: each arm at its best dose, between "
            "measured doses too (a prompt's are counts, with nothing between). The side "
            "lower turns the trait round: its gain is what the score falls by. Area: mean gain "
            "over coherences from 50 to 100. Intervals are over questions.",
        )
    ]


def note_text(row: Mapping[Any, Any]) -> str:
    """What to know of an arm's best."""
    notes = []
    if row["best_dose"] != row["best_dose"]:
        notes.append("never that coherent")
    elif row["arm"] != "none" and not row["coherent"]:
        notes.append("no measured dose that coherent: smaller doses are needed")
    if row["edge"]:
        notes.append("best at the largest dose")
    return "; ".join(notes)


def trends_block(persona: Persona) -> list[Block]:
    """Whether the trait rises with the dose."""
    frame = persona.tables["trends"]
    if frame.empty:
        return []
    shown = pd.DataFrame(
        {
            "trait": frame["trait"],
            "arm": [Arm(*pair).text for pair in zip(frame["arm"], frame["variant"], strict=True)],
            "doses": frame["doses"],
            "tau": frame["tau"],
            "tau, 95 %": ends_text(frame, "tau"),
            "change": frame["change"],
            "change, 95 %": ends_text(frame, "change"),
            "steps that fall": frame["falls"],
            "monotone": ["yes" if each else "no" for each in frame["monotone"]],
        }
    )
    return [
        Table(
            shown,
            "Whether the trait rises with the dose: Kendall's tau of doses and scores (1: every "
            "larger dose scores higher), and the change from the smallest to the largest dose. It "
            "is monotone if that change is above 0 and no step from a dose to the next falls, both "
            "by their 95 % intervals.",
        )
    ]


def differences_block(persona: Persona) -> list[Block]:
    """One arm less another."""
    frame = persona.tables["differences"]
    if frame.empty:
        return []
    shown = pd.DataFrame(
        {
            "trait": frame["trait"],
            "side": frame["side"],
            "arm": [Arm(*pair).text for pair in zip(frame["arm"], frame["variant"], strict=True)],
            "less": [
                Arm(*pair).text
                for pair in zip(frame["against"], frame["against_variant"], strict=True)
            ],
            "difference": frame["difference"],
            "95 %": ends_text(frame, "", "low", "high"),
            "difference of areas": frame["area_difference"],
            "area, 95 %": ends_text(frame, "area"),
        }
    )
    return [Table(shown, "One arm less another at matched coherence, paired by question (points).")]


def doses_block(persona: Persona) -> list[Block]:
    """Every dose."""
    frame = persona.tables["doses"]
    shown = pd.DataFrame(
        {
            "trait": frame["trait"],
            "arm": [Arm(*pair).text for pair in zip(frame["arm"], frame["variant"], strict=True)],
            "dose": frame["dose"],
            "score": frame["score"],
            "score, 95 %": ends_text(frame, "score"),
            "coherence": frame["coherence"],
            "neutral loss": frame["loss"],
            "its rise": frame["loss_rise"],
            "rise, 95 %": ends_text(frame, "loss_rise"),
            "accuracy": frame["accuracy"],
            "lost": frame["accuracy_loss"],
            "lost, 95 %": ends_text(frame, "accuracy_loss"),
            "unknown": frame[["refusal", "unparsable", "unjudged"]].sum(axis=1),
        }
    ).dropna(axis="columns", how="all")
    return [
        Table(
            shown,
            "Every dose: mean score and coherence; nats per token on neutral text and accuracy on "
            "a task, and what of them is lost against no steering. Unknown scores (refused, "
            "unparsable, not judged) widen the intervals to what they could be.",
        )
    ]


def answer_blocks(persona: Persona) -> list[Block]:
    """Answers to look at, and what became of all of them."""
    frame = persona.tables["samples"]
    blocks: list[Block] = [
        Table(
            frame[frame["trait"] == trait].drop(columns="trait"),
            f"Answers about {trait}: the same three questions, drawn once, under every arm and "
            "dose.",
        )
        for trait in dict.fromkeys(frame["trait"])
    ]
    counts = persona.tables["answers"]
    caption = "What became of all answers; cut: those that ended at the longest length."
    return [*blocks, Table(counts, caption)]


def ends_text(frame: pd.DataFrame, name: str, low: str = "", high: str = "") -> list[str]:
    """A column of intervals."""
    columns = low or f"{name}_low", high or f"{name}_high"
    return [interval_text(*pair) for pair in zip(*(frame[each] for each in columns), strict=True)]
