"""What single tables and figures of a serving report mark: few requests, the cache, faults."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from serving_cells import FEW, Simulated

from loradrift.analysis.serving import load_figures
from loradrift.analysis.serving.memory_figures import draw_cold
from loradrift.analysis.serving.reading import read_cell
from loradrift.analysis.serving.section_tables import classification_blocks, setting_blocks
from loradrift.analysis.serving.sections import apart_blocks
from loradrift.analysis.serving.tables import measure
from loradrift.report.blocks import Paragraph, Table


@pytest.fixture
def kept(monkeypatch):
    """Figures, as they would be saved."""
    figures = {}
    for module in ("load_figures", "memory_figures"):
        monkeypatch.setattr(
            f"loradrift.analysis.serving.{module}.save",
            lambda figure, folder, name: figures.update({name: figure}),
        )
    return figures


def test_a_p95_of_fewer_than_20_requests_is_hollow(tmp_path, kept):
    """Of five rounds with four requests each, one round of the load 1 is missing: 16 are left."""
    folder = Simulated(**{**FEW, "concurrency": (1, 4), "rates": ()}).write(tmp_path / "runs")
    (folder / "server" / "closed_loop-1-round=004.parquet").unlink()
    found = measure(read_cell(folder), seed=0)
    caption = load_figures.draw_server(found, tmp_path).caption
    assert "hollow: of fewer than 20 requests" in caption and "goodput" not in caption
    left, right = kept["server"].axes
    hollow = [line for line in left.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[1.0], [1.0]], "of both arms"
    assert not any(line.get_markerfacecolor() == "white" for line in right.lines)
    [line] = [line for line in left.lines if line.get_label() == "2 adapters"]
    samples = found.cell.samples
    for load, drawn in zip(line.get_xdata(), line.get_ydata(), strict=True):
        own = samples[
            (samples["phase"] == "closed_loop") & (samples["load"] == load)
            & (samples["arm"] == "multi_2_adapters")
        ]  # fmt: skip
        assert drawn == pytest.approx(np.percentile(own["latency_s"], 95))


def test_loads_from_files_are_said_to_be_from_the_page_cache(tmp_path, kept):
    folder = Simulated(**{**FEW, "served_kinds": ()}, rounds=2).write(tmp_path / "runs")
    found = measure(read_cell(folder), seed=0)
    says = "later loads read no disk"
    assert says in draw_cold(found, tmp_path).caption
    assert says in next(each for each in setting_blocks(found) if isinstance(each, Table)).caption
    slots = found._replace(cold=found.cold[found.cold["place"] == "slot"])
    assert says not in draw_cold(slots, tmp_path).caption


TASK = {"label": "RTE", "num_labels": 2, "rows": 40, "equal_labels": 38, "ties": 0, "wrong": [{}],
        "largest_difference": 1e-6, "largest_logit": 3.9}  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "faults", "shown"),
    [
        ("float32", {}, {}),
        ("float32", {"not_finite": ["7"], "swapped": []}, {"not finite": 1}),
        ("bfloat16", {"not_finite": [], "swapped": ["3", "9"]},
         {"not finite": 0, "nearer to another's": 2}),
    ],
)  # fmt: skip
def test_faults_of_classifiers_are_counted_where_somebody_looked(dtype, faults, shown):
    found = {"tasks": {"rte": TASK | faults}, "dtype": dtype, "rows_per_s": 200.0}
    [table] = classification_blocks(SimpleNamespace(cell=SimpleNamespace(classification=found)))
    [row] = table.frame.to_dict("records")
    assert {name: row[name] for name in ("not finite", "nearer to another's") if name in row} == (
        shown
    )
    assert ("nearer to those of another adapter" in table.caption) == (dtype == "bfloat16")


def test_what_passes_for_another_is_a_table_and_nothing_is_a_sentence(tmp_path):
    folder = Simulated(**{**FEW, "served_kinds": ()}, rounds=1).write(tmp_path / "runs")
    found = measure(read_cell(folder), seed=0)
    table, left = apart_blocks(found)
    count = found.answers.answers - found.answers.told_apart
    assert left.text.startswith(f"{count} of {found.answers.answers} checked answers, as long as")
    assert [*table.frame.iloc[0]] == ["SST-2-like (generated)", "MRPC-like (generated)", 100]
    assert "By the tolerance alone" not in table.caption, "of fp32"
    least = {name: [1] * 32 for name in ("base", "sst2", "mrpc", "rte", "squad_v2")}
    (folder / "apart.json").write_text(json.dumps({"shares": [], "least": least}))
    [said] = apart_blocks(measure(read_cell(folder), seed=0))
    assert isinstance(said, Paragraph) and said.text.startswith("On no prompt")
    (folder / "apart.json").unlink()
    assert apart_blocks(measure(read_cell(folder), seed=0)) == []
