"""The tables of the page."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.efficiency import ALL, WAYS
from loradrift.analysis.persona.tables import Persona
from loradrift.report.blocks import Block, Paragraph, Table, interval_text


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
            "note": [note_text(row) for row in frame.to_dict("records")],
        }
    )
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


def efficiency_blocks(persona: Persona) -> list[Block]:
    """Time and memory per token."""
    found = persona.efficiency
    if found is None:
        trait = persona.compared.judged[0].cell.trait
        command = f"python benchmark.py benchmark=steering_cost trait={trait}"
        return [Paragraph(f"Time and memory per token were not measured: `{command}` does.")]
    frame = found.overheads
    shown = pd.DataFrame(
        {
            "way": [WAYS[name] for name in frame["arm"]],
            "against": [WAYS[name] for name in frame["against"]],
            "batch": ["all" if each == ALL else f"{each:g}" for each in frame["batch"]],
            "ratio of times": frame["ratio"],
            "95 %": ends_text(frame, "", "low", "high"),
            "rounds": frame["rounds"],
        }
    )
    times = found.seconds.rename(columns=lambda batch: f"batch {batch:g}").reset_index()
    times["arm"] = [WAYS[name] for name in times["arm"]]
    blocks: list[Block] = [
        Table(shown, "Time per token of one way to steer over another's, paired by round."),
        Table(times, "Milliseconds per token (means)."),
    ]
    memory = found.memory.get("extra_bytes", found.memory)
    if isinstance(memory, Mapping):
        rows = [(WAYS.get(way, way), size / 2**20) for way, size in memory.items()
                if isinstance(size, int | float)]  # fmt: skip
        blocks.append(Table(pd.DataFrame(rows, columns=["way", "extra memory (MiB)"]),
                            "Memory beside the base model's weights."))  # fmt: skip
    return blocks


def matrix_block(persona: Persona) -> list[Block]:
    """What steering one trait does to all."""
    frame = persona.tables["entanglement"]
    if frame.empty:
        return []
    shown = pd.DataFrame(
        {
            "arm": [Arm(*pair).text for pair in zip(frame["arm"], frame["variant"], strict=True)],
            "steered": frame["steered"],
            "judged": frame["judged"],
            "dose": frame["dose"],
            "gain": frame["gain"],
            "95 %": ends_text(frame, "", "low", "high"),
        }
    )
    return [Table(shown, "Gains in every judged trait at the arm's best coherent measured dose.")]


def composition_blocks(persona: Persona) -> list[Block]:
    """Two traits at once."""
    frame = persona.tables["composition"]
    if frame.empty:
        command = ("python benchmark.py benchmark=steering trait=… arm=weight coefficient=… "
                   "'steering.also={…:…}'")  # fmt: skip
        return [Paragraph(f"No two traits were steered at once: `{command}` does.")]
    shown = pd.DataFrame(
        {
            "arm": frame["arm"],
            "steered": frame["steered"],
            "dose": frame["dose"],
            "also": frame["also"],
            "judged": frame["judged"],
            "gain": frame["gain"],
            "gain, 95 %": ends_text(frame, "gain"),
            "against alone": frame["kept"],
            "against alone, 95 %": ends_text(frame, "kept"),
            "coherence": frame["coherence"],
        }
    )
    return [Table(shown, "Two traits at once: gains over no steering, and against steering alone.")]


def prevention_blocks(persona: Persona) -> list[Block]:
    """Training with the direction merged."""
    frame = persona.tables["prevention"]
    if frame.empty:
        return []
    shown = frame.drop(columns=["low", "high"]).assign(
        **{"95 %": ends_text(frame, "", "low", "high")}
    )
    return [
        Table(
            shown,
            "Preventative steering: the trait's score after training with the direction in the "
            "weights (taken out afterwards) and after training without; the difference has a 95 % "
            "interval over questions.",
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
