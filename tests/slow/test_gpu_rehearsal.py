"""``benchmarks/gpu.py --rehearse``: the whole way on a CPU, so that a GPU needs no change of it."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_the_rehearsal_takes_every_step_and_keeps_five_files(tmp_path):
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--rehearse"],
        cwd=ROOT,
        env=os.environ | {"OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "all steps succeeded" in done.stdout
    names = {"summary.json", "steps.log", "deployment_benchmark.json", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"cell.tar.gz"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [each["exit_code"] for each in summary["steps"]] == [0, 0, 0, 0]
    assert summary["answers"]["wrong"] == 0 < summary["answers"]["answers"]
    cell = json.loads((tmp_path / "deployment_benchmark.json").read_text())
    assert "multi_2_adapters" in json.dumps(cell)
