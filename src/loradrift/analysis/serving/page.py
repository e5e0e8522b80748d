"""``analysis=serving``: what several adapters in one engine cost, and what to set."""

from pathlib import Path

import pandas as pd

from loradrift.analysis.serving import AnalyzeServingConfig
from loradrift.analysis.serving.results_json import deployment_json
from loradrift.analysis.serving.summary import print_cell
from loradrift.analysis.serving.tables import Serving, all_cells
from loradrift.analysis.tables import write_tables
from loradrift.files import write_atomic, write_json


def report(settings: AnalyzeServingConfig, serving: Serving) -> None:
    """Write results, tables and pages; print each cell's table, verdict and advice."""
    folder = Path(settings.analysis.results, "deployment")
    write_json(folder / "deployment_benchmark.json", deployment_json(serving))
    names = ("calls", "latencies", "bands", "overheads")
    write_tables(folder, {name: all_cells(serving, name) for name in names})
    _write_samples(folder / "samples.parquet", serving)
    for line in serving.problems:
        print(f"note: {line}")
    for measured in reversed(serving.cells):  # the one that the report is about comes last
        print_cell(measured)
    print(f"results: {folder / 'deployment_benchmark.json'}", flush=True)


def _write_samples(path: Path, serving: Serving) -> None:
    """All samples of all cells, one row per request."""
    samples = [each.cell.samples.assign(cell=each.cell.name) for each in serving.cells]
    with write_atomic(path) as temporary:
        pd.concat(samples, ignore_index=True).drop(columns="place").to_parquet(
            temporary, index=False
        )
