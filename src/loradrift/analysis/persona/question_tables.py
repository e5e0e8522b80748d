"""The tables of efficiency, composition, interpretability and prevention."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.efficiency import ALL, WAYS
from loradrift.analysis.persona.section_tables import ends_text
from loradrift.analysis.persona.tables import Persona
from loradrift.report.blocks import Block, Paragraph, Table


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
    memory = memory_table(found.memory)
    if len(memory):
        blocks.append(Table(memory, "Memory: beside the base model's weights, and of a process in "
                            "which the way answered its largest batch."))  # fmt: skip
    return blocks


def memory_table(memory: Mapping[str, Any]) -> pd.DataFrame:
    """MiB of each way; columns that were not measured are left out."""
    names = {"extra_bytes": "beside the weights (MiB)", "resident_bytes": "process (MiB)"}
    sizes = {title: memory[key] for key, title in names.items() if memory.get(key)}
    ways = [way for way in WAYS if any(way in each for each in sizes.values())]
    columns = {
        title: [each.get(way, math.nan) / 2**20 for way in ways] for title, each in sizes.items()
    }
    return pd.DataFrame({"way": [WAYS[way] for way in ways], **columns})


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


def space_blocks(persona: Persona) -> list[Block]:
    """The directions among each other."""
    frame = persona.tables["interference"]
    if frame.empty:
        return []
    shown = frame.rename(columns={"weights": "cosine of weights", "vectors": "cosine of vectors"})
    return [
        Table(
            shown,
            "How alike the directions of two traits are: in weights, and the vectors that the arm "
            "of activations adds, at the middle layer.",
        )
    ]


def composition_blocks(persona: Persona) -> list[Block]:
    """Two traits at once."""
    frame = persona.tables["composition"]
    if frame.empty:
        command = ("python benchmark.py benchmark=steering trait=… arm=weight coefficient=… "
                   "'steering.also={…:…}'")  # fmt: skip
        return [Paragraph(f"No two traits were steered at once: `{command}` does.")]
    shown = pd.DataFrame(
        {
            "arm": [Arm(*pair).text for pair in zip(frame["arm"], frame["variant"], strict=True)],
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
