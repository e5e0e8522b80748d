"""A search's figures: Optuna draws the history, the parameters and the times of the trials."""

import warnings
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.analysis.labels import task_labels
from loradrift.analysis.search.tables import MIN_TRIALS, SHUFFLES, STATES, TOP, Found, state_of
from loradrift.report.blocks import Figure, in_words
from loradrift.report.figures import Drawers
from loradrift.report.style import SETTINGS, WIDTH, canvas, few_ticks, method_label, save
from loradrift.sweeping.best import objective

NO_TIME = "A killed or interrupted trial has no time: when its process ended is not known."
"""How captions explain that there is no time."""


class _Plot(NamedTuple):
    """One of Optuna's plots, drawn for each search from the trials in some states."""

    function: str
    states: tuple[str, ...]
    caption: str


PLOTS = {
    "search_history": _Plot(
        "plot_optimization_history",
        STATES,  # Optuna looks trials up by their number, and shows the completed ones
        "The objective of each completed trial, and the best so far; a cross is a pruned trial "
        "with the last value that it reported.",
    ),
    "search_parallel": _Plot(
        "plot_parallel_coordinate",
        ("complete",),
        "Each line is a completed trial, from its objective to its parameters: the darker, the "
        "better.",
    ),
    "search_time": _Plot(
        "plot_timeline",
        ("complete", "pruned", "failed"),
        f"When each trial began and ended. {NO_TIME}",
    ),
}


def _draw(name: str, found: Found, folder: Path) -> list[Figure]:
    """Draw one plot for each search that has trials to show."""
    plot, figures = PLOTS[name], []
    labels = task_labels(found.tables.summary)
    for study in found.studies:
        trials = study.get_trials(deepcopy=False)
        if any(each.state.name == "COMPLETE" for each in trials):
            _, task, method = study.study_name.split("/")
            title, file = f"{labels[task]}, {method_label(method)}", f"{name}_{task}_{method}"
            shown = [each for each in trials if state_of(each, trials) in plot.states]
            _draw_one(plot, study, shown, title, folder / file)
            figures.append(Figure(file, f"{title}. {plot.caption}"))
    return figures


def _draw_one(plot: _Plot, study: Any, trials: list[Any], title: str, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as plots

    view = copy(study)  # shows these trials alone
    view.get_trials = lambda deepcopy=False, states=None: [
        each for each in trials if states is None or each.state in states
    ]
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's plots are marked as experimental
        is_timeline = plot.function == "plot_timeline"  # the only one without the objective
        options = {} if is_timeline else {"target_name": objective(study)}
        axes = getattr(plots, plot.function)(view, **options)
        try:
            if plot.function == "plot_optimization_history":
                _add_pruned(axes, trials)
            axes.set_title(title, fontsize=10)
            axes.xaxis.label.set_size(9)
            axes.yaxis.label.set_size(9)
            axes.figure.set_size_inches(WIDTH, 3.2)
            for each in axes.figure.axes:
                each.set_facecolor("white")
                each.grid(visible=each is axes and is_timeline, color="#dddddd")
            save(axes.figure, path.parent, path.name)
        finally:
            plt.close(axes.figure)


def _add_pruned(axes: Any, trials: list[Any]) -> None:
    pruned = [each for each in trials if each.state.name == "PRUNED" and each.last_step]
    if pruned:
        values = [trial.intermediate_values[trial.last_step] for trial in pruned]
        axes.plot([each.number for each in pruned], values, "X", color="#999999", label="pruned")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    few_ticks(axes.xaxis, whole=True)


def _draw_importance(found: Found, folder: Path) -> Figure | None:
    """Draw each parameter's importance beside what chance gives, one panel per search."""
    searches: list[Any] = list(found.tables.importance.groupby(["task", "method"], sort=False))
    if not searches:
        return None
    labels = task_labels(found.tables.summary)
    with canvas(len(searches), columns=2) as (figure, panels):
        for axes, ((task, method), own) in zip(panels, searches, strict=True):
            places = range(len(own))
            axes.barh(places, own["importance"], color="#0072B2", height=0.6)
            axes.vlines(own["chance"], [y - 0.38 for y in places], [y + 0.38 for y in places], "k")
            axes.set_yticks(places, in_words(own["key"]))
            axes.invert_yaxis()
            axes.set_xlim(0, 1)
            axes.set_xlabel("importance")
            axes.set_title(f"{labels[task]}, {method_label(method)}")
        save(figure, folder, "search_importance")
    return Figure("search_importance", IMPORTANCE)


assert TOP == 0.25  # as the caption says
IMPORTANCE = (
    "Which parameters tell the best quarter of the completed trials from all of them (PED-ANOVA, "
    "Watanabe et al. 2023, arXiv:2304.10255); the shares sum to 1. The black line is what chance "
    f"gives: the 95 % quantile of {SHUFFLES} searches with the same trials and shuffled values. "
    f"Searches with fewer than {MIN_TRIALS} completed trials are left out."
)

SEARCHES: Drawers = {
    **{name: partial(_draw, name) for name in PLOTS},
    "search_importance": _draw_importance,
}
"""The figures of what :class:`Found` holds."""
