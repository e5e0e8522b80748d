"""Each notebook runs to its end from an empty folder, its own asserts included."""

import asyncio
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
TIMEOUT_S = 600
"""Of a whole notebook: it ends one that hangs. No test asserts the minute that a notebook takes at
most, on machines that do other work too: docs/dataframes.md has what was measured."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_a_reader_runs_it(path: Path, tmp_path, monkeypatch):
    """In a real kernel; a cell that fails is the test's error, with what it printed."""
    nbformat = pytest.importorskip("nbformat", reason="pip install '.[notebooks]'")
    nbclient = pytest.importorskip("nbclient", reason="pip install '.[notebooks]'")
    for name in ("train.py", "analyze.py", "benchmark.py", "conf", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    examples = tmp_path / "examples"
    examples.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(examples)}}
    client = nbclient.NotebookClient(notebook, timeout=None, resources=where)
    asyncio.run(asyncio.wait_for(client.async_execute(), TIMEOUT_S))
    assert [each.name for each in examples.iterdir()] == ["work"]
    assert [each.name for each in (examples / "work").iterdir()] == [path.stem]
    assert not (tmp_path / "runs").exists() and not (tmp_path / "results").exists()
