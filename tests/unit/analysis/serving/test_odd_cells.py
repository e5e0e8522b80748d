"""Cells of every odd shape give a report: what is not there is left out, and nothing is made up."""

import json

import pandas as pd
import pytest
from serving_cells import ARMS, FEW, Simulated, arm

from loradrift.analysis.serving.drawers import CELLS, SERVING
from loradrift.analysis.serving.page import page_blocks
from loradrift.analysis.serving.reading import read_cells
from loradrift.analysis.serving.results_json import deployment_json
from loradrift.analysis.serving.summary import print_cell
from loradrift.analysis.serving.tables import Serving, measure
from loradrift.report.blocks import Answer, Heading, Table, with_content
from loradrift.report.figures import Figures
from loradrift.runs.record import Status


@pytest.fixture(autouse=True)
def nothing_saved(monkeypatch):
    for module in ("figures", "memory_figures", "load_figures"):
        monkeypatch.setattr(f"loradrift.analysis.serving.{module}.save", lambda *_: None)


def lacking(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def wrong(folder):
    path = folder / "rounds" / "round=001.parquet"
    table = pd.read_parquet(path)
    table.loc[0, ["answer", "answered_by", "gap"]] = ["differs", "rte", 3.0]
    table.to_parquet(path, index=False)


def without_server(folder):
    for path in (folder / "server").iterdir():
        path.unlink()


def classified(folder):
    task = {"label": "RTE-like (generated)", "num_labels": 2, "rows": 40, "equal_labels": 39,
            "ties": 0, "wrong": [{}], "largest_difference": 1e-6, "largest_logit": 3.9}  # fmt: skip
    found = {"tasks": {"rte": task}, "dtype": "float32", "rows_per_s": 200.0, "problem": "rte: 1"}
    (folder / "classification.json").write_text(json.dumps(found))


ODD = {
    "one round": ({"rounds": 1}, None),
    "two rounds, interrupted": ({"rounds": 2, "planned": 5, "status": Status.INTERRUPTED}, None),
    "one batch size": ({"batch_sizes": (3,)}, None),
    "one token": ({"max_tokens": 1}, None),
    "no server": ({}, without_server),
    "no memory": ({}, lacking("memory.json")),
    "no events, no first requests": ({}, lacking("events.json", "cold.parquet")),
    "a wrong answer": ({"status": Status.FAILED, "error": "a wrong answer: 1 < 2"}, wrong),
    "base model alone": ({"arms": ARMS[:1]}, None),
    "merged models alone": ({"arms": ARMS[2:6]}, None),
    "adapters alone": ({"arms": ARMS[6:9]}, None),
    "many adapters": ({"arms": (*ARMS, *(
        arm(f"multi_{n}_adapters", "multi", *(f"drawn_{i}" for i in range(n)))
        for n in (8, 16, 32)))}, None),
    "transformers": ({"engine": "hf", "kernels": "", "arms": ARMS[:1] + ARMS[2:9]}, None),
    "a kind of arm that is not known": ({"arms": (*ARMS, arm("new", "new", "sst2")),
                                         "slower": Simulated().slower | {"new": 1.0}}, None),
    "classified": ({}, classified),
}  # fmt: skip


def reported(tmp_path, changes, change):
    folder = Simulated(**{**FEW, **changes}).write(tmp_path / "runs")
    if change is not None:
        change(folder)
    cells, problems = read_cells(tmp_path / "runs")
    serving = Serving([measure(cell, seed=0) for cell in cells], problems)
    first = serving.cells[0]
    figures = Figures(tmp_path, [], (SERVING, first), (CELLS, serving))
    return serving, with_content(page_blocks(serving, figures))


@pytest.mark.parametrize("name", ODD)
def test_a_report_is_made(tmp_path, capsys, name):
    serving, blocks = reported(tmp_path, *ODD[name])
    assert isinstance(blocks[0], Answer) and "H3 (at most 30 % overhead)" in blocks[0].text
    for table in (block for block in blocks if isinstance(block, Table)):
        assert "nan" not in str(table.cells()), table.caption
    json.dumps(deployment_json(serving), allow_nan=False)
    print_cell(serving.cells[0])
    printed = capsys.readouterr().out
    assert "nan" not in printed and "verdict: " in printed


def headings(blocks):
    return [block.text for block in blocks if isinstance(block, Heading)]


def test_sections_of_what_was_not_measured_are_not_there(tmp_path):
    _, blocks = reported(tmp_path, *ODD["no server"])
    assert "A server under load" not in headings(blocks)
    assert "Classifiers side by side" not in headings(blocks)


def test_the_line_of_a_failed_cell_is_on_its_page(tmp_path):
    _, blocks = reported(tmp_path, *ODD["a wrong answer"])
    text = str(blocks)
    assert "status is failed: a wrong answer: 1 < 2" in text
    assert "There is no advice" in text and "1 wrong" in text


def test_classifiers_that_are_not_right_are_said(tmp_path):
    _, blocks = reported(tmp_path, *ODD["classified"])
    assert "Classifiers side by side" in headings(blocks) and "Not right: rte: 1." in str(blocks)
