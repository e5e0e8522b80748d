"""The notebooks as they are stored: no outputs, commands that compose, links that lead somewhere.

``tests/slow/test_notebooks.py`` executes them.
"""

import json
import os
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from front_doors import ROOT
from hydra import compose, initialize_config_dir

import loradrift.judges
import loradrift.serving
import loradrift.steering  # noqa: F401  all register benchmark=…
from loradrift.analysis.registry import register_all

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
COMMANDS = {"drift_report": 1, "diagnose_adapter": 2, "steer_persona": 3, "serving_costs": 2}
"""Notebook -> how many commands of the front doors it types."""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def cells(path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def sources(cells: list[dict], kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def test_there_are_four():
    assert {path.stem for path in NOTEBOOKS} == set(COMMANDS)


def test_outputs_and_counts_are_stripped_and_metadata_is_minimal(path, cells):
    for cell in cells:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            what = "strip it: jupyter nbconvert --clear-output --inplace examples/*.ipynb"
            assert (cell["outputs"], cell["execution_count"]) == ([], None), what
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert json.loads(path.read_text())["metadata"] == {"kernelspec": kernel}


def test_a_text_stands_before_each_cell_of_code(cells):
    kinds = [cell["cell_type"] for cell in cells]
    assert kinds[0] == "markdown" and ("code", "code") not in pairwise(kinds)


def test_it_calls_itself_a_toy_and_asserts_what_must_hold(cells):
    assert "**This is a toy" in sources(cells, "markdown")[0]
    assert sum(line.startswith("assert ") for line in sources(cells, "code")[-1].split("\n")) >= 4


def test_links_lead_to_files(path, cells):
    for link in re.findall(r"\]\(([^)#:]+)", "\n".join(sources(cells, "markdown"))):
        assert (path.parent / link).exists(), link


def test_variables_that_the_text_names_are_set(cells):
    named = set(re.findall(r"`([A-Z]{3,})`", "\n".join(sources(cells, "markdown"))))
    assert named and named <= set(re.findall(r"[A-Z]{3,}", "\n".join(sources(cells, "code"))))


def test_what_it_types_composes_and_stays_below_its_folder(load, path, cells, monkeypatch):
    load()  # makes the groups known
    register_all()
    code = sources(cells, "code")
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", {**os.environ, "ADAPTERS": "[a,b]"})
        exec(code[0], {})
        typed = "\n".join(each for each in code if each.startswith("%%bash"))
        lines = typed.replace("\\\n", " ").splitlines()
        lines = [os.path.expandvars(line) for line in lines if line.startswith("python")]
    assert len(lines) == COMMANDS[path.stem]
    for line in lines:
        _, script, *words = shlex.split(line.partition(" ||")[0])
        places = [word for word in words if re.match(r"(.*\.)?(runs|results|cache)=", word)]
        assert places and all(f"/work/{path.stem}" in each for each in places)
        varied = "-m" in words
        words = [w.split(",")[0] if varied and "[" not in w else w for w in words if w != "-m"]
        with initialize_config_dir(str(ROOT / "conf")):
            compose(Path(script).stem, words)
