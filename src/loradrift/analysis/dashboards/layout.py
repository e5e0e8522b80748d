"""How the workspace and the report of W&B are laid out: sections, and the panels in them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from loradrift.report.blocks import cell_text

ONLINE = (
    "The figures are of all runs; the {} only of those with callbacks.online_drift.enabled=true, "
    "and empty where there are none: others do not log their drift."
)
"""What W&B itself can draw of the drift."""


class Contents(NamedTuple):
    """What the dashboards of a study show; ``figures`` are PNG files by name."""

    study: str
    layers: list[str]
    """Logged drift, by layer: ``drift/layer_0`` …"""

    metrics: list[str]
    """The tasks' metrics, such as ``accuracy``."""

    compared: str
    """``LoRA against full fine-tuning``."""

    searched: list[str]
    """Keys that were searched; none where no search was reported."""

    tables: dict[str, pd.DataFrame]
    figures: dict[str, Path]


def build(contents: Contents, project: str, entity: str, *, online: bool) -> tuple[Any, Any]:
    """The workspace and the report, as wandb-workspaces has them."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    mine = f"Group = '{contents.study}'"
    place = {"entity": entity, "project": project}
    # W&B is asked for the number of a run set's project; one without is of the report's own.
    runs_place = place if online else dict.fromkeys(place, "")
    sections: list[Any] = []
    blocks: list[Any] = [wr.TableOfContents()]
    for name, (text, panels) in _sections(contents).items():
        # a section of a workspace has no text of its own, unlike a report's
        shown = [wr.MarkdownPanel(markdown=text), *panels]
        sections.append(ws.Section(name=name, panels=shown, is_open=True))
        runs = wr.Runset(**runs_place, name=contents.study, filters=mine)
        blocks += [wr.H2(text=name), wr.P(text=text), wr.PanelGrid(runsets=[runs], panels=panels)]
    workspace = ws.Workspace(
        **place,
        name=f"loradrift: {contents.study}",
        sections=sections,
        runset_settings=ws.RunsetSettings(filters=mine),
    )
    report = wr.Report(
        **place,
        title=f"Representation drift: {contents.study}",
        description=contents.compared,
        blocks=blocks,
        width="fluid",
    )
    return workspace, report


def _sections(contents: Contents) -> dict[str, tuple[str, list[Any]]]:
    """Heading -> what it is about, and its panels."""
    import wandb_workspaces.reports.v2 as wr

    curves = wr.LinePlot(
        title="Drift while training",
        x="trainer/global_step",
        y=contents.layers,
        groupby=wr.Config("method.name"),
    )
    scatter_plots = [
        wr.ScatterPlot(
            title=f"Drift against {metric}",
            x=wr.SummaryMetric("drift/mean"),
            y=wr.SummaryMetric(f"evaluation/{metric}"),
        )
        for metric in contents.metrics
    ]
    media = partial(_media, contents.figures)
    sections: dict[str, tuple[str, list[Any]]] = {
        "Drift by layer": (
            f"1 - CKA of each layer with the base model. {ONLINE.format('curves')}",
            [media("layer_profiles", "drift_over_steps", "layer_difference"), curves],
        ),
        "Drift against performance": (
            f"What drift a performance costs. {ONLINE.format('scatter plots')}",
            [media("frontier", "drift_ratio"), *scatter_plots],
        ),
    }
    if contents.searched:
        sections["Search history"] = (
            "The trials of the search: job type search.",
            [*_search_panels(contents), media("search_history", "search_parallel")],
        )
    verdicts = wr.MarkdownPanel(markdown=_markdown(contents.tables["hypotheses"]))
    sections["Hypotheses"] = "Fixed before the data were seen.", [verdicts, media("hypotheses")]
    return sections


def _search_panels(contents: Contents) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    panels: list[Any] = []
    for metric in contents.metrics:
        score = f"validation/{metric}"
        axes = [*map(wr.Config, contents.searched), wr.SummaryMetric(score)]
        columns = list(map(wr.ParallelCoordinatesPlotColumn, axes))
        panels += [
            wr.ScatterPlot(
                title=f"{score} of each trial",
                x=wr.Config("trial"),
                y=wr.SummaryMetric(score),
                running_ymax=True,
            ),
            wr.ParallelCoordinatesPlot(title=score, columns=columns),
            wr.ParameterImportancePlot(with_respect_to=score),
        ]
    return panels


def _media(figures: Iterable[str], *names: str) -> Any:
    """Show those of the study's figures that there are."""
    import wandb_workspaces.reports.v2 as wr

    keys = [f"figures/{each}" for name in names for each in figures if each.startswith(name)]
    return wr.MediaBrowser(media_keys=keys, num_columns=1)


def _markdown(table: pd.DataFrame) -> str:
    shown = table[["claim", "ratio", "95 % interval", "p", "verdict"]]
    rows = [list(shown.columns), ["---"] * len(shown.columns)]
    for values in shown.itertuples(index=False):
        rows.append([cell_text(value).replace("|", "\\|") for value in values])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
