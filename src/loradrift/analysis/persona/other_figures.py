"""Figures of efficiency, composition, prevention and of what steering does to other traits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.persona.dose_figures import arm_of, setting_text
from loradrift.analysis.persona.efficiency import ALL, WAYS
from loradrift.analysis.persona.looks import BAND, COLORS, MARGIN_COLOR
from loradrift.analysis.persona.tables import Persona
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, finish_panels, save

TRAITS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of traits."""

WAY_LOOKS = {
    "merged": ("o", COLORS["weight"]), "adapter": ("^", COLORS["weight_positive"]),
    "hook": ("s", COLORS["activation"]),
}  # fmt: skip


def draw_efficiency(persona: Persona, folder: Path) -> Sequence[Figure]:
    """Time per token of each way to steer, against the base model's, by batch size."""
    if persona.efficiency is None:
        return []
    table = persona.efficiency.overheads
    table = table[(table["against"] == "base") & (table["batch"] != ALL)]
    if table.empty:
        return []
    batches = sorted(table["batch"].unique())
    with canvas(1, height=2.9) as (figure, [axes]):
        for way, (marker, color) in WAY_LOOKS.items():
            rows = table[table["arm"] == way].sort_values("batch")
            if rows.empty:
                continue
            axes.plot(rows["batch"], rows["ratio"], marker=marker, color=color, label=WAYS[way])
            axes.fill_between(
                rows["batch"], rows["low"], rows["high"], color=color, alpha=BAND, lw=0
            )
        axes.axhline(1, color="black", lw=0.8)
        if len(batches) > 1:
            axes.set_xscale("log", base=2)
        axes.set_xticks(batches, [f"{batch:g}" for batch in batches])
        axes.minorticks_off()
        axes.set(xlabel="batch size", ylabel="time per token / base model's")
        few_ticks(axes.yaxis)
        finish_panels(figure, [axes])
        save(figure, folder, "efficiency")
    return [Figure(
        "efficiency",
        "Time per generated token against the base model's, paired by round; bands are 95 % t "
        f"intervals over rounds. Cell {persona.efficiency.name}.",
    )]  # fmt: skip


def draw_entanglement(persona: Persona, folder: Path) -> Sequence[Figure]:
    """The gain in every trait of steering each: a matrix per main arm."""
    table = persona.tables["entanglement"]
    arms = [
        arm for arm in map(persona.main.get, ("prompt", "activation", "weight"))
        if arm and ((table["arm"] == arm.kind) & (table["variant"] == arm.variant)).any()
    ]  # fmt: skip
    if not arms or (table["steered"] == table["judged"]).all():
        return []
    steered, judged = (list(dict.fromkeys(table[name])) for name in ("steered", "judged"))
    largest = max(10.0, float(table["gain"].abs().max()))
    height = 1.3 + 0.36 * len(steered)
    with canvas(len(arms), height=height) as (figure, axes):
        for place, (each, arm) in enumerate(zip(axes, arms, strict=True)):
            own = table[(table["arm"] == arm.kind) & (table["variant"] == arm.variant)]
            wide = own.pivot(index="steered", columns="judged", values="gain")
            image = _matrix(each, wide.reindex(index=steered, columns=judged), largest)
            each.set_title(arm.text)
            each.set_xticks(range(len(judged)), judged, rotation=40, ha="right")
            each.set_yticks(range(len(steered)), steered if place == 0 else [""] * len(steered))
            each.set(xlabel="judged", ylabel="steered" if place == 0 else "")
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
        bar.set_label("gain (points)", fontsize=8)
        save(figure, folder, "entanglement")
    return [Figure(
        "entanglement",
        "What steering one trait (rows) does to each judged trait (columns), in points over no "
        "steering on the steered trait's questions, at the arm's best coherent measured dose. A "
        f"row is empty where no measured dose is coherent. {setting_text(persona)}",
    )]  # fmt: skip


def _matrix(axes: Any, wide: pd.DataFrame, largest: float) -> Any:
    values = wide.to_numpy(dtype=float)
    image = axes.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "white" if abs(value) > 0.6 * largest else "black"
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8
            )
    axes.grid(visible=False)
    return image


def draw_composition(persona: Persona, folder: Path) -> Sequence[Figure]:
    """Each trait when two are steered at once, over no steering and against alone."""
    table = persona.tables["composition"]
    if table.empty:
        return []
    names = [
        f"{row['judged']}: {row['steered']} {row['dose']:g} + {row['also']}\n({arm_of(row).text})"
        for _, row in table.iterrows()
    ]
    margin = persona.settings.margin
    with canvas(2, height=0.8 + 0.4 * len(table), columns=2) as (figure, axes):
        titles = ("gained over no steering", "against steering it alone")
        for place, (each, name) in enumerate(zip(axes, ("gain", "kept"), strict=True)):
            for row, values in enumerate(table.to_dict("records")):
                ends = np.array([[values[name] - values[f"{name}_low"]],
                                 [values[f"{name}_high"] - values[name]]])  # fmt: skip
                color = COLORS.get(str(values["arm"]), "#444444")
                if np.isfinite(values[name]):
                    known = bool(np.isfinite(ends).all())
                    each.errorbar(
                        values[name], row, fmt="o", color=color, ms=5, capsize=2.5, lw=1.2,
                        xerr=np.maximum(ends, 0) if known else None,
                    )  # fmt: skip
                else:
                    each.annotate("not measured", (0, row), va="center", fontsize=7.5)
            if name == "kept":
                each.axvspan(-margin, margin, color=MARGIN_COLOR, alpha=0.12, lw=0)
            each.axvline(0, color="black", lw=0.8)
            each.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
            each.set(ylim=(len(names) - 0.5, -0.5), title=titles[place], xlabel="points")
            each.grid(visible=False, axis="y")
            few_ticks(each.xaxis)
        save(figure, folder, "composition")
    return [Figure(
        "composition",
        "Two traits steered at once, on the questions of the first: each one's gain over no "
        "steering, and what it is more than when it is steered alone, with 95 % intervals over "
        f"questions. Grey: within {margin:g} points. {setting_text(persona)}",
    )]  # fmt: skip


def draw_prevention(persona: Persona, folder: Path) -> Sequence[Figure]:
    """The trait after training with the direction merged, and without."""
    table = persona.tables["prevention"]
    if table.empty:
        return []
    names = [
        f"{row['trait']}, trained on {row['trained_on']}\n"
        f"coefficient {row['coefficient']}, seed {row['seed']}"
        for _, row in table.iterrows()
    ]
    with canvas(1, height=0.9 + 0.42 * len(table)) as (figure, [axes]):
        for row, values in enumerate(table.to_dict("records")):
            pair = values["without"], values["with_direction"]
            axes.plot(pair, (row, row), color=MARGIN_COLOR, lw=1.0)
            axes.plot(pair[0], row, "s", color=COLORS["activation"], ms=6,
                      label="trained without the direction")  # fmt: skip
            axes.plot(pair[1], row, "o", color=COLORS["weight"], ms=6,
                      label="trained with the direction merged")  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(-4, 104), xlabel="trait score afterwards")
        axes.grid(visible=False, axis="y")
        finish_panels(figure, [axes])
        save(figure, folder, "prevention")
    return [Figure(
        "prevention",
        "Preventative steering: the trait's score after training on the same rows, with the "
        f"direction in the weights while training and without. {setting_text(persona)}",
    )]  # fmt: skip


def draw_spaces(persona: Persona, folder: Path) -> Sequence[Figure]:
    """Cosine of the weights' effect with the activation vector, layer by layer."""
    table = persona.tables["spaces"]
    table = table[table["used"]]
    if table.empty:
        return []
    vector = table["vector"].iloc[0]
    doses = sorted(table["coefficient"].unique())
    with canvas(len(doses), height=2.7, columns=2) as (figure, axes):
        for each, dose in zip(axes, doses, strict=True):
            own = table[table["coefficient"] == dose]
            for number, (trait, rows) in enumerate(own.groupby("trait", sort=True)):
                means = rows.groupby("layer")[["cosine", "cosine_random"]].mean()
                color = TRAITS[number % len(TRAITS)]
                each.plot(means.index, means["cosine"], "o-", ms=3.5, color=color, label=str(trait))
                each.plot(means.index, means["cosine_random"], ":", lw=1.0, color=color)
            each.axhline(0, color="black", lw=0.8)
            each.set(ylim=(-1.05, 1.05), xlabel="layer", ylabel="cosine")
            each.set_title(f"coefficient {dose:g}")
            few_ticks(each.xaxis, whole=True)
        finish_panels(figure, axes)
        save(figure, folder, "spaces")
    return [Figure(
        "spaces",
        f"Relation of the spaces: the cosine, at each layer, between the vector ({vector}) and the "
        "mean change of the same tokens' states that the weights' direction causes; means over "
        "seeds. Dotted: a random change of weights of the same norm.",
    )]  # fmt: skip
