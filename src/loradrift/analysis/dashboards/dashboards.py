"""``analysis=dashboards``: the study in W&B, as a workspace and a report beside its runs.

One run of its own holds what was made of the study: its tables, its figures, its hypotheses. The
runs of the cells carry ``group`` (the study) and ``job_type`` (the phase), and are found by them.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from loradrift.analysis.dashboards import DashboardsConfig
from loradrift.analysis.dashboards.layout import Contents, build
from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypothesis_data import for_readers, outcome_table, read_outcomes
from loradrift.analysis.drift.records import choose_study
from loradrift.analysis.labels import task_labels, with_labels
from loradrift.analysis.tables import read_tables
from loradrift.config import UserError
from loradrift.config.studies import phase_folder
from loradrift.files import write_atomic, write_json
from loradrift.report.blocks import in_words

AGAIN = "python analyze.py"


def collect(settings: DashboardsConfig) -> Contents:
    """Read what earlier analyses wrote, if anything can be logged."""
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError:
        needs = "analysis=dashboards needs wandb-workspaces: pip install '.[dashboards]'"
        raise UserError(needs) from None
    if os.environ.get("WANDB_MODE") == "disabled":
        raise UserError("WANDB_MODE=disabled logs nothing; WANDB_MODE=offline writes files instead")
    config = settings.analysis
    results, study = Path(config.results), choose_study(Path(config.runs), config.study)
    names = ["summary", "layers", "frontier", "runs", "compared"]
    read = read_tables(results / "drift_analysis", names, AGAIN)
    labels = task_labels(read["runs"])
    outcomes = read_outcomes(results / "hypotheses.json", f"{AGAIN} analysis=hypotheses")
    layers = sorted(map(int, read["layers"]["layer"].unique()))
    tables = {name: with_labels(read[name], labels) for name in ("summary", "layers", "frontier")}
    tables["hypotheses"] = outcome_table(for_readers(outcomes, labels))
    figures = sorted((results / "figures").glob("*.png"))
    searched: list[str] = []
    search = results / "search" / study
    if (search / "trials.parquet").is_file():
        found = read_tables(
            search, ["summary", "trials", "coordinates", "edges"], f"{AGAIN} analysis=search"
        )
        searches = task_labels(found["summary"])
        for name in ("trials", "edges"):
            tables[f"search_{name}"] = with_labels(found[name], searches)
        searched = list(dict.fromkeys(found["coordinates"]["key"]))
        figures += sorted((search / "figures").glob("*.png"))
    return Contents(
        study=study,
        layers=[f"drift/layer_{layer}" for layer in layers],
        metrics=sorted(read["runs"]["metric"].unique()),
        compared=Arms.read(read["compared"]).versus,
        searched=searched,
        tables=tables,
        figures={path.stem: path for path in figures},
    )


def push(settings: DashboardsConfig, contents: Contents) -> None:
    """Log the study's results as a W&B run, and push its workspace and report.

    With ``WANDB_MODE=offline`` both are written to ``<results>/dashboards/`` instead. The key is
    read by W&B from the environment, and goes nowhere else.
    """
    import wandb

    try:
        run = log_results(settings, contents)
        entity = settings.entity or ("" if run.offline else wandb.Api().default_entity)
        workspace, report = build(contents, settings.project, entity, online=not run.offline)
        if not run.offline:
            for each in (workspace, report):
                each.save()
                print(f"pushed: {each.url}")
            return
    except wandb.errors.Error as error:
        why = " ".join(str(error).split())
        raise UserError(f"W&B: {why} (WANDB_MODE=offline writes files instead)") from None
    folder = Path(settings.analysis.results, "dashboards")
    for name, each in {"workspace": workspace, "report": report}.items():
        sent = each._to_model().model_dump_json(by_alias=True, exclude_none=True)
        write_json(folder / f"{name}.json", json.loads(sent))
    patterns = offline_runs(settings.analysis.runs, contents.study)
    logged = "".join(f" and `wandb sync {each}`" for each in patterns)
    none = "" if logged else " (none of the study's own was logged with logger=wandb)"
    print(
        f"offline: nothing was pushed. Runs{none}: `wandb sync {Path(run.dir).parent}`{logged} "
        f"upload them; what would be pushed then: {folder}/workspace.json and report.json. The "
        "same command pushes it without WANDB_MODE=offline"
    )


def offline_runs(runs: str, study: str) -> list[str]:
    """Patterns of the folders that the study's runs have logged to, phase by phase."""
    phases = [f"{runs}/{phase_folder(study, each)}" for each in ("production", "search", "sanity")]
    logged = "*/*/*/wandb/offline-run-*"
    return [f"{each}/{logged}" for each in phases if any(Path(each).glob(logged))]


def log_results(settings: DashboardsConfig, contents: Contents) -> Any:
    """Log the study's tables and figures in one W&B run, also as an artifact; give the run."""
    import wandb

    results = Path(settings.analysis.results)
    folder = results / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{contents.study} report"
    run = wandb.init(
        project=settings.project,
        entity=settings.entity,
        group=contents.study,
        job_type="report",
        name=name,
        # the same run each time: a dashboard shows the newest results, not all of them
        id=hashlib.sha256(name.encode()).hexdigest()[:16],
        resume="allow",
        tags=["report"],
        dir=folder,
        settings=wandb.Settings(silent=True),
    )
    with run:
        artifact = wandb.Artifact(f"{contents.study}-results", type="results")
        for name, table in contents.tables.items():
            # W&B's tables want columns of one kind each: text, unless all are numbers
            words = dict.fromkeys(table.select_dtypes(exclude="number").columns, str)
            shown = table.astype(words).set_axis(in_words(table), axis=1)
            run.log({f"tables/{name}": wandb.Table(dataframe=shown)})
            path = folder / "tables" / f"{name}.csv"
            with write_atomic(path) as temporary:
                table.to_csv(temporary, index=False)
            artifact.add_file(str(path), f"tables/{name}.csv")
        for name, path in contents.figures.items():
            run.log({f"figures/{name}": wandb.Image(str(path))})
            artifact.add_file(str(path), f"figures/{name}.png")
        for path in results.glob("report.*"):
            artifact.add_file(str(path))
        run.log_artifact(artifact)
    return run
