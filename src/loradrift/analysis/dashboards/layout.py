"""How the workspace and the report of W&B are laid out: sections, and the panels in them."""

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
    """What the dashboards of a study show."""

    study: str
    layers: list[str]
    """Logged drift, by layer: ``drift/layer_0`` …"""

    metrics: list[str]
    """Of the tasks: ``accuracy`` …"""

    compared: str
    """``LoRA against full fine-tuning``."""

    searched: list[str]
    """Keys that were searched; none where no search was reported."""

    tables: dict[str, pd.DataFrame]
    figures: dict[str, Path]
    """Name -> PNG file."""


def build(contents: Contents, project: str, entity: str, *, online: bool) -> tuple[Any, Any]:
    """The workspace and the report, as wandb-workspaces has them."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    mine = f"Group = '{contents.study}'"
    sections = _sections(contents)
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=f"loradrift: {contents.study}",
        sections=[
            # a section of a workspace has no text of its own, unlike a report's
            ws.Section(name=name, panels=[wr.MarkdownPanel(markdown=text), *panels], is_open=True)
            for name, (text, panels) in sections.items()
        ],
        runset_settings=ws.RunsetSettings(filters=mine),
    )
    # W&B is asked for the number of a run set's project; one without is of the report's own.
    place = {"entity": entity, "project": project} if online else {"entity": "", "project": ""}
    blocks: list[Any] = [wr.TableOfContents()]
    for name, (text, panels) in sections.items():
        runs = wr.Runset(**place, name=contents.study, filters=mine)
        blocks += [wr.H2(text=name), wr.P(text=text), wr.PanelGrid(runsets=[runs], panels=panels)]
    report = wr.Report(
        entity=entity,
        project=project,
        title=f"Representation drift: {contents.study}",
        description=contents.compared,
        blocks=blocks,
        width="fluid",
    )
    return workspace, report


def _sections(contents: Contents) -> dict[str, tuple[str, list[Any]]]:
    """Heading -> what it is about, and its panels."""
    import wandb_workspaces.reports.v2 as wr

    sections = {
        "Drift by layer": (
            f"1 - CKA of each layer with the base model. {ONLINE.format('curves')}",
            [
                _media(contents, "layer_profiles", "drift_over_steps", "layer_difference"),
                wr.LinePlot(
                    title="Drift while training",
                    x="trainer/global_step",
                    y=contents.layers,
                    groupby=wr.Config("method.name"),
                ),
            ],
        ),
        "Drift against performance": (
            f"What drift a performance costs. {ONLINE.format('scatter plots')}",
            [
                _media(contents, "frontier", "drift_reduction"),
                *(
                    wr.ScatterPlot(
                        title=f"Drift against {metric}",
                        x=wr.SummaryMetric("drift/mean"),
                        y=wr.SummaryMetric(f"evaluation/{metric}"),
                    )
                    for metric in contents.metrics
                ),
            ],
        ),
    }
    if contents.searched:
        sections["Search history"] = (
            "The trials of the search: job type search.",
            [*_search_panels(contents), _media(contents, "search_history", "search_parallel")],
        )
    sections["Hypotheses"] = (
        "Fixed before the data were seen.",
        [
            wr.MarkdownPanel(markdown=_markdown(contents.tables["hypotheses"])),
            _media(contents, "hypotheses"),
        ],
    )
    return sections


def _search_panels(contents: Contents) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    panels: list[Any] = []
    for metric in contents.metrics:
        score = f"validation/{metric}"
        columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in contents.searched]
        columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(score)))
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


def _media(contents: Contents, *names: str) -> Any:
    """Those of the study's figures that there are."""
    import wandb_workspaces.reports.v2 as wr

    keys = [
        f"figures/{each}" for name in names for each in contents.figures if each.startswith(name)
    ]
    return wr.MediaBrowser(media_keys=keys, num_columns=1)


def _markdown(table: pd.DataFrame) -> str:
    shown = table[["claim", "estimate %", "95 % from", "to", "p Holm", "verdict"]]
    rows = [[str(name) for name in shown.columns], ["---"] * len(shown.columns)]
    rows += [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: object) -> str:
    return cell_text(value).replace("|", "\\|")
