"""Runs whose records have schema version 1 are analysed to the digits of the code that made them.

The fixture was made at commit 5f1b5b6: two tasks, two methods and two seeds of 8 steps, 2 layers 32
wide. Weights, predictions and checkpoints were taken out to keep it small, and of the results what
was an interval of the reduction in percent.
"""

import json
import tarfile
from pathlib import Path

import pytest
from front_doors import ROOT, analyze, output_of

FIXTURE = ROOT / "tests/fixtures/schema_1"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("schema_1")
    with tarfile.open(FIXTURE / "runs.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    output_of(analyze(folder, "analysis.figures=[frontier]"))
    return folder / "results"


def numbers(tree, place=()) -> dict[tuple, object]:
    """Every leaf of a JSON tree by its place."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in numbers(value, (*place, key)).items()}
    return {place: tree}


def test_the_results_are_the_same(analysed):
    name = "drift_analysis_results.json"
    before = numbers(json.loads((FIXTURE / name).read_text()))
    now = numbers(json.loads((analysed / "drift_analysis" / name).read_text()))
    assert {place for place in before if place not in now} == set()
    for place, value in before.items():
        same = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
        assert now[place] == same, place
