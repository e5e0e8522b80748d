"""Figures of the training: losses, F1 and the collapse measures by step."""

from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.reconstruction.figures import setting_text
from loradrift.analysis.reconstruction.looks import arm_color
from loradrift.analysis.reconstruction.tables import Reconstruction
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, finish_panels, save

CURVES = {
    "loss": "validation: gold loss (nats)",
    "text_f1": "validation: F1 (points)",
    "teacher_forced_accuracy": "teacher-forced accuracy",
    "reconstruction_cosine": "validation: reconstruction cosine",
    "train/loss": "training: loss",
    "train/loss_reconstruction": "training: reconstruction loss",
    "train/loss_first_token": "training: first-token loss (nats)",
    "train/loss_k_token": "training: K-token loss (nats)",
    "train/loss_kd": "training: distillation loss (nats)",
}
"""Column of the table ``training`` -> the panel's title."""

DASHBOARD = {
    "collapse/unique_share": "different answers (share)",
    "collapse/top_answer_share": "most frequent answer (share)",
    "collapse/distinct_1": "distinct-1",
    "collapse/distinct_2": "distinct-2",
    "collapse/repeated_ngram_rate": "repeated n-grams (rate)",
    "collapse/self_bleu": "self-BLEU",
    "collapse/top_token_share": "most frequent token (share)",
    "collapse/vendi": "Vendi score",
    "collapse/first_token_entropy": "first token's entropy (nats)",
    "collapse/latent_cosine": "cosine of latents",
    "collapse/first_component_share": "first component (share)",
    "collapse/swapped_gap": "cost of swapped latents (nats)",
    "collapse/rms_ratio": "RMS: soft prompt / embeddings",
    "collapse/lora_gradient": "LoRA's gradient (RMS)",
    "collapse/head_gradient": "head's gradient (RMS)",
}
"""Likewise, of what the detector measures."""


def draw_curves(found: Reconstruction, folder: Path) -> Figure | None:
    """Losses and figures of the validations by step."""
    if not _draw(found, folder, "curves", CURVES):
        return None
    return Figure(
        "curves",
        "Training: each arm's mean over seeds. A run's reported figures are of the evaluation with "
        f"the best validation metric, on other rows. {setting_text(found)}",
    )


def draw_dashboard(found: Reconstruction, folder: Path) -> Figure | None:
    """Everything that the collapse detector measures, by step."""
    if not _draw(found, folder, "collapse", DASHBOARD):
        return None
    return Figure(
        "collapse",
        "What the collapse detector saw of the validation answers: each arm's mean over seeds. A "
        f"red cross is an alarm of one run. {setting_text(found)}",
    )


def _draw(found: Reconstruction, folder: Path, name: str, titles: dict[str, str]) -> bool:
    table = found.tables["training"]
    shown = [key for key in titles if key in table and table[key].notna().any()]
    if not shown:
        return False
    with canvas(len(shown), height=1.9) as (figure, axes):
        for each, key in zip(axes, shown, strict=True):
            _lines(each, found, table, key)
            if name == "collapse":
                alarms = table[table["alarm"] & table[key].notna()]
                each.plot(
                    alarms["step"], alarms[key], "x", color="#CC0000", ms=5, mew=1.2,
                    label="alarm" if len(alarms) else None,
                )  # fmt: skip
            if "gradient" in key:
                each.set_yscale("log")
            else:
                few_ticks(each.yaxis)
            each.set_title(titles[key], fontsize=8)
            each.set_xlabel("step" if each in axes[-3:] else "")
            few_ticks(each.xaxis)
        finish_panels(figure, axes)
        save(figure, folder, name)
    return True


def _lines(axes: Any, found: Reconstruction, table: pd.DataFrame, key: str) -> None:
    best, baseline = found.best.arm, found.baseline
    order = [arm for arm in found.scores.by_arm if arm not in (best, baseline)]
    for arm in [*order, baseline, best]:
        own = table[table["arm"] == arm.text]
        if own.empty or own[key].isna().all():
            continue
        means = own.groupby("step")[key].mean()
        # where a seed has ended earlier than others, their mean would jump
        whole = means[own.groupby("step")["seed"].nunique() == own["seed"].nunique()].dropna()
        label = arm.text if arm in (best, baseline) else "other arms"
        axes.plot(
            whole.index, whole, color=arm_color(arm, baseline, best), label=label, lw=1.3,
            marker="o" if len(whole) < 3 else None, ms=3,
        )  # fmt: skip
