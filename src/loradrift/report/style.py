"""How all figures look: colours that colour-blind readers tell apart, and that print well."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loradrift.files import write_atomic
from loradrift.report.blocks import Figure

ARM_COLORS = {"control": "#D55E00", "treatment": "#0072B2"}
"""Side of a comparison -> colour (Okabe & Ito 2008)."""

ARM_MARKERS = {"control": "s", "treatment": "o"}
METHODS = {
    "full_finetune": "full fine-tuning", "lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA",
    "pissa": "PiSSA", "head_only": "head only",
}  # fmt: skip

DPI = 300  # of the bitmaps
WIDTH = 7.2  # inches: the whole width of a page, for every figure
SETTINGS = {
    "font.size": 9, "axes.titlesize": 9.5, "axes.titleweight": "bold",
    "xtick.labelsize": 8, "ytick.labelsize": 8,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.25, "grid.linewidth": 0.6,
    "lines.linewidth": 1.5, "lines.markersize": 4, "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "loradrift",  # equal tables give equal files
    "svg.fonttype": "none",
}  # fmt: skip


def method_label(method: str) -> str:
    """How a method is written in figures and texts."""
    return METHODS.get(method, method)


@contextmanager
def canvas(num_panels: int, *, height: float = 2.6, columns: int = 3) -> Iterator[Any]:
    """A figure with panels in rows, as wide as a page, in the project's style; closed afterwards.

    The height is a panel's, in inches.
    """
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    columns = min(columns, num_panels)
    rows = -(-num_panels // columns)
    size = WIDTH, height * rows
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for left_over in axes.flat[num_panels:]:
            left_over.remove()
        try:
            yield figure, list(axes.flat[:num_panels])
        finally:
            plt.close(figure)


def finish_panels(figure: Any, panels: Sequence[Any], *, columns: int = 4) -> None:
    """One legend below panels of the same kind, and no label twice in a row.

    The legend has so many columns where the figure is wide enough.
    """
    labels = [axes.get_ylabel() for axes in panels]
    rows = [axes.get_subplotspec().rowspan.start for axes in panels]
    for place in range(1, len(panels)):
        if (rows[place], labels[place]) == (rows[place - 1], labels[place - 1]):
            panels[place].set_ylabel("")
    shown: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(name, handle)
    if shown:
        entry_inches = 0.055 * max(map(len, shown)) + 0.5
        columns = max(1, min(columns, int(figure.get_figwidth() / entry_inches)))
        figure.legend(shown.values(), shown, loc="outside lower center", ncols=columns, fontsize=8)


def draw_panels(
    tasks: Sequence[str],
    draw: Callable[[Any, str], Any],
    folder: Path,
    name: str,
    caption: str,
    *,
    columns: int = 4,
    color_bar: str = "",
) -> Figure:
    """Draw and save a figure with a panel for each task, which its title names.

    The legend has so many columns where the figure is wide enough; ``color_bar`` labels a bar for
    what ``draw`` returns.
    """
    columns_of_panels = 2 if len(tasks) == 4 else 3
    height = 3.6 if len(tasks) == 1 else 2.6  # a panel as wide as the page would be flat
    with canvas(len(tasks), height=height, columns=columns_of_panels) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            image = draw(axes, task)
            axes.set_title(task)
        finish_panels(figure, panels, columns=columns)
        if color_bar:
            figure.set_layout_engine("compressed")  # squares, side by side
            bar = figure.colorbar(image, ax=panels, shrink=0.85, aspect=30, pad=0.02)
            bar.set_label(color_bar, fontsize=8)
        save(figure, folder, name)
    return Figure(name, caption)


def few_ticks(axis: Any, intervals: int = 4, *, whole: bool = False) -> None:
    """Ticks at so many intervals at most, written short: a small panel's labels stay apart.

    ``whole`` puts none between whole numbers.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    locator = MaxNLocator(nbins=intervals, steps=[1, 2, 2.5, 5, 10], integer=whole)
    if whole:
        locator.set_params(min_n_ticks=1)  # rather than a second one at a fraction
    axis.set_major_locator(locator)
    short = FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "\N{MINUS SIGN}"))
    axis.set_major_formatter(short)


def ratio_axis(axes: Any, low: float, high: float) -> None:
    """A log scale for ratios between ``low`` and ``high``, with few ticks written as numbers."""
    from matplotlib.ticker import (
        FixedLocator,
        FuncFormatter,
        LogLocator,
        NullFormatter,
        NullLocator,
    )

    room = max((high / low) ** 0.08, 1.02)
    low, high = low / room, high * room
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axis = axes.xaxis
    if high / low < 3:  # less than a few powers of two
        steps = 10.0 ** math.floor(math.log10((high - low) / 3))
        step = next(k * steps for k in (1, 2, 5, 10) if (high - low) / (k * steps) <= 7)
        ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
        axis.set_major_locator(FixedLocator(ticks))
    else:
        powers = max(1, round(math.log2(high / low) / 8))
        axis.set_major_locator(LogLocator(base=2.0**powers, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def from_zero(axes: Any) -> None:
    """Begin the scale just below zero, so that what lies there is seen whole."""
    axes.set_ylim(bottom=-0.03 * max(axes.get_ylim()[1], 1e-12))


def save(figure: Any, folder: Path, name: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg``."""
    options: dict[str, Any] = {"png": {"dpi": DPI}, "svg": {"metadata": {"Date": None}}}
    for suffix, chosen in options.items():
        with write_atomic(folder / f"{name}.{suffix}") as temporary:
            figure.savefig(temporary, format=suffix, **chosen)
