"""The tables of the page."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from loradrift.analysis.reconstruction.scores import RUNGS
from loradrift.analysis.reconstruction.tables import Reconstruction
from loradrift.analysis.reconstruction.verdicts import side_text
from loradrift.report.blocks import Block, Paragraph, Table, interval_text

CLASSES_SAID = (
    "Strong: at least 10 points; significant: 5 to 10; marginal: 2 to 5; none: less than 2. A "
    "class is given only if the interval lies in it, or begins in it and ends beyond its upper "
    "line (at least …)."
)


def ends_text(frame: pd.DataFrame, name: str) -> list[str]:
    """The intervals of a column."""
    pairs = zip(frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
    return [interval_text(low, high) for low, high in pairs]


def gains_block(found: Reconstruction) -> list[Block]:
    """Every arm against the baseline."""
    rows = [
        {
            "arm": each.arm.text,
            "seeds": ", ".join(map(str, found.scores.seeds(each.arm, found.baseline))),
            "F1": each.f1.estimate,
            "gained": each.gain.estimate,
            "95 %": interval_text(each.gain.low, each.gain.high),
            "all arms": interval_text(each.wide.low, each.wide.high) if each.wide else "-",
            "verdict": side_text(each.gain),
            "gold loss": each.gold_loss.estimate,
            "added": each.loss_gain.estimate if each.loss_gain else None,
            "added, 95 %": (
                interval_text(each.loss_gain.low, each.loss_gain.high) if each.loss_gain else "-"
            ),
        }
        for each in found.compared
        if each.gain is not None
    ]
    if not rows:
        return [Paragraph(f"No other arm shares a seed with {found.baseline.named}.")]
    return [
        Table(
            pd.DataFrame(rows),
            f"Every arm less {found.baseline.named}, paired by seed and row: points of F1, and "
            f"nats per token of the gold answer (less is better). {CLASSES_SAID} All arms: the "
            "interval at a level for all arms together.",
        )
    ]


def arms_block(found: Reconstruction) -> list[Block]:
    """Every arm's own figures."""
    frame = found.tables["arms"]
    shown = pd.DataFrame(
        {
            "arm": frame["arm"],
            "seeds": frame["seeds"],
            "F1": frame["f1"],
            "F1, 95 %": ends_text(frame, "f1"),
            "EM": frame["em"],
            "gold loss": frame["gold_loss"],
            "loss, 95 %": ends_text(frame, "gold_loss"),
            "of full text's F1 (%)": 100 * frame["share"],
            "CKA with the base": [_written(v, ".4f") for v in frame["cka"]],
            "trained parameters": [_written(v, ",.0f") for v in frame["trainable"]],
        }
    )
    return [
        Table(
            shown,
            "Every arm: F1 and exact match (0 to 100) of greedy answers, and the loss of the gold "
            "answer in nats per token, teacher-forced. CKA compares the language model's states "
            "on full texts with those before training, mean over layers and seeds.",
        )
    ]


def ladder_block(found: Reconstruction) -> list[Block]:
    """All rungs."""
    frame = found.tables["ladder"]
    shown = pd.DataFrame(
        {
            "in the context's place": [RUNGS[rung] for rung in frame["rung"]],
            "of": frame["arm"].replace("", "base model"),
            "bytes": frame["bytes"],
            "vectors": frame["positions"],
            "F1": frame["f1"],
            "F1, 95 %": ends_text(frame, "f1"),
            "EM": frame["em"],
            "over no context": frame["f1_over_nothing"],
            "over, 95 %": ends_text(frame, "f1_over_nothing"),
            "gold loss": frame["gold_loss"],
            "loss over no context": frame["gold_loss_over_nothing"],
            "loss over, 95 %": ends_text(frame, "gold_loss_over_nothing"),
            "of full text's F1 (%)": 100 * frame["share"],
        }
    )
    return [
        Table(
            shown,
            "The ladder, on the same rows: mean bytes and vectors that stand for a context, and "
            "what is answered from them. Differences to no context are paired by row. Rungs of "
            "the base model are computed once, before any training.",
        )
    ]


def latents_block(found: Reconstruction) -> list[Block]:
    """Whether answers depend on the latents."""
    rows = []
    for each in found.compared:
        row: dict[str, Any] = {"arm": each.arm.text}
        for name, interval in (("F1 lost", each.swapped_f1), ("loss added", each.swapped_loss)):
            low, high = (None, None) if interval is None else (interval.low, interval.high)
            row |= {
                f"{name} when swapped": None if interval is None else interval.estimate,
                f"{name}, 95 %": interval_text(low, high),
            }
        row |= {
            "ignoring seeds": _seeds(each.ignoring),
            "below no context": _flag(each.below_no_context),
        }
        rows.append(row)
    return [
        Table(
            pd.DataFrame(rows),
            "What answers lose with the latents of a row of another context, which a draw gives "
            "each row. A seed ignores its latents if neither F1 nor gold loss gets worse: both "
            "intervals over its rows hold 0. Below no context: F1 is lower or the gold loss higher "
            "than without one.",
        )
    ]


def _written(value: float, form: str) -> str:
    return "-" if pd.isna(value) else format(float(value), form)


def _seeds(seeds: Sequence[int] | None) -> str:
    return "-" if seeds is None else ", ".join(map(str, seeds)) or "none"


def _flag(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def rate_block(found: Reconstruction) -> list[Block]:
    """Everything of the rate-distortion figure."""
    frame = found.tables["rate"]
    shown = pd.DataFrame(
        {
            "in the context's place": [RUNGS[rung] for rung in frame["rung"]],
            "of": frame["arm"].replace("", "base model"),
            "M": frame["num_latents"],
            "numbers": [str(each) for each in frame["d_z"]],
            "bits": [str(each) for each in frame["latent_bits"]],
            "bytes": frame["bytes"],
            "times fewer": frame["compression"],
            "bits per token": frame["bits_per_token"],
            "F1": frame["f1"],
            "F1, 95 %": ends_text(frame, "f1"),
            "gold loss": frame["gold_loss"],
            "loss, 95 %": ends_text(frame, "gold_loss"),
        }
    )
    return [Table(shown, "F1 and gold loss by the bytes that stand for a context.")]


def collapse_blocks(found: Reconstruction) -> list[Block]:
    """Alarms by run."""
    frame = found.tables["collapse"]
    known = frame[frame["evaluations"].notna()]
    if known.empty:
        return [Paragraph("No run has diagnostics.")]
    alarmed = known[(known["alarms"] > 0) | (known["status"] == "collapsed")]
    if alarmed.empty:
        evaluations = int(known["evaluations"].sum())
        return [Paragraph(f"No alarm in {evaluations} evaluations of {len(known)} runs.")]
    return [Table(alarmed, "Runs with an alarm, and what the first one said.")]


def cka_block(found: Reconstruction) -> list[Block]:
    """CKA by run."""
    frame = found.tables["cka"]
    if frame.empty:
        return [Paragraph("No run has dumps of activations.")]
    shown = frame.assign(
        cka=[f"{value:.4f}" for value in frame["cka"]],
        lowest=[f"{value:.4f}" for value in frame["lowest"]],
    )
    return [
        Table(
            shown.rename(columns={"lowest": "lowest of a layer", "lowest_layer": "layer"}),
            "Debiased CKA of the language model's states on full texts, at the last dump against "
            "step 0: mean over layers, and the lowest. 1 where nothing moved.",
        )
    ]


def examples_block(found: Reconstruction) -> list[Block]:
    """Three rows."""
    frame = found.tables["examples"]
    if frame.empty:
        return [Paragraph("No run has examples.")]
    tables: list[Block] = []
    for number, row in enumerate(frame.to_dict("records"), start=1):
        pairs = [(str(name), "-" if value is None else str(value)) for name, value in row.items()]
        shown = pd.DataFrame(pairs, columns=["what", "words"])
        tables.append(
            Table(
                shown,
                f"Example {number} of {len(frame)}, drawn by analysis.seed: the text and the "
                "question, gold answers, and what is answered from the full text, from the latents "
                "of two arms, and without a context.",
            )
        )
    return tables
