"""Cells of every odd shape give a report: what is not there is left out, and nothing is made up."""

import json
import shutil

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


IN_MEMORY = arm("multi_4_adapters_2_in_memory", "few_in_memory", *ARMS[-1]["adapters"],
                max_loras=2, max_cpu_loras=2, max_lora_rank=8)  # fmt: skip


def evicted(folder):
    """First requests of an engine that keeps two adapters in memory, as of two slots."""
    path = folder / "cold.parquet"
    table = pd.read_parquet(path)
    few = table[table["arm"] == "multi_4_adapters_2_slots"].assign(arm=IN_MEMORY["name"])
    pd.concat([table, few]).to_parquet(path, index=False)


def classified(folder):
    task = {"label": "RTE-like (generated)", "num_labels": 2, "rows": 40, "equal_labels": 39,
            "ties": 0, "wrong": [{}], "largest_difference": 1e-6, "largest_logit": 3.9}  # fmt: skip
    found = {"tasks": {"rte": task}, "dtype": "float32", "problem": "rte: 1"}
    (folder / "classification.json").write_text(json.dumps(found))


def bare(folder):
    lacking("memory.json", "events.json", "cold.parquet", "checks.json")(folder)
    lacking("cold_samples.parquet", "apart.json")(folder)
    shutil.rmtree(folder / "server")


ODD = {
    "one round": ({"rounds": 1}, None, "undecided: 1 round"),
    "two rounds, interrupted": (
        {"rounds": 2, "planned": 5, "status": Status.INTERRUPTED, "batch_sizes": (3,)}, None,
        "2 of 5 rounds, interrupted"),
    "one token": ({"max_tokens": 1}, None, "1 tokens each"),
    "offline times alone": ({}, bare, "No request rates were measured"),
    "a wrong answer": (
        {"status": Status.FAILED, "error": "a wrong answer: 1 < 2"}, wrong,
        "status is failed: a wrong answer: 1 < 2", "There is no advice", "1 wrong"),
    "base model alone": ({"arms": ARMS[:1]}, None, "no verdict"),
    "merged models alone": ({"arms": ARMS[2:6]}, None, "no verdict"),
    "adapters alone": ({"arms": ARMS[6:9]}, None, "no verdict"),
    "many adapters": ({"arms": (*ARMS, *(
        arm(f"multi_{n}_adapters", "multi", *(f"drawn_{i}" for i in range(n)))
        for n in (8, 16, 32)))}, None, "32 adapters"),
    "transformers": (
        {"engine": "hf", "kernels": "", "arms": ARMS[:1] + ARMS[2:9]}, None,
        "transformers and PEFT, on the CPU, fp32"),
    "too few in memory": (
        {"arms": (*ARMS, IN_MEMORY), "slower": Simulated().slower | {"few_in_memory": 2.5}},
        evicted, "4 adapters, 2 in memory", "pushed out of memory by others",
        "with an adapter that others have pushed out"),
    "a kind of arm that is not known, and classifiers": (
        {"arms": (*ARMS, arm("new", "new", "sst2")), "slower": Simulated().slower | {"new": 1.0}},
        classified, "Classifiers side by side", "Not right: rte: 1."),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_report_is_made(tmp_path, capsys, name):
    changes, change, *says = ODD[name]
    folder = Simulated(**{**FEW, **changes}).write(tmp_path / "runs")
    if change is not None:
        change(folder)
    cells, problems = read_cells(tmp_path / "runs")
    serving = Serving([measure(cell, seed=0) for cell in cells], problems)
    figures = Figures(tmp_path, [], (SERVING, serving.cells[0]), (CELLS, serving))
    blocks = with_content(page_blocks(serving, figures))
    assert isinstance(blocks[0], Answer) and "H3 (at most 30 % overhead)" in blocks[0].text
    assert all(each in str(blocks) for each in says)
    for table in (block for block in blocks if isinstance(block, Table)):
        assert "nan" not in str(table.cells()), table.caption
    json.dumps(deployment_json(serving), allow_nan=False)
    print_cell(serving.cells[0])
    printed = capsys.readouterr().out
    assert "nan" not in printed and "verdict: " in printed
    headings = [block.text for block in blocks if isinstance(block, Heading)]
    assert ("A server under load" in headings) == (
        serving.cells[0].calls["phase"] != "offline"
    ).any()
