"""How all figures look: colours that colour-blind readers tell apart, and that print well."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loradrift.files import write_atomic

COLORS = {"full_finetune": "#D55E00", "lora": "#0072B2"}
"""Method -> colour (Okabe & Ito 2008)."""

MARKERS = {"full_finetune": "s", "lora": "o"}
LABELS = {"full_finetune": "full fine-tuning", "lora": "LoRA"}
TASKS = {"sst2": "SST-2", "mrpc": "MRPC", "rte": "RTE", "squad_v2": "SQuAD v2"}

SETTINGS = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "loradrift",  # equal tables give equal files
    "svg.fonttype": "none",
}


def task_label(task: str) -> str:
    """How a task is written in a figure."""
    return TASKS.get(task, task)


@contextmanager
def canvas(num_panels: int, *, width: float = 3.1, height: float = 2.7) -> Iterator[Any]:
    """A figure with a row of panels, in the project's style; closed afterwards."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(
            1, num_panels, figsize=(width * num_panels, height), squeeze=False
        )
        try:
            yield figure, axes[0]
        finally:
            plt.close(figure)


def save(figure: Any, folder: Path, name: str) -> None:
    """Write ``<name>.png`` (300 dpi) and ``<name>.svg``."""
    options: dict[str, Any] = {"png": {"dpi": 300}, "svg": {"metadata": {"Date": None}}}
    for suffix, chosen in options.items():
        with write_atomic(folder / f"{name}.{suffix}") as temporary:
            figure.savefig(temporary, format=suffix, **chosen)
