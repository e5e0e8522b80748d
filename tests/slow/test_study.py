"""A study that is killed again and again ends as one that is not."""

import json
import random
import re
import subprocess
import time
from pathlib import Path

import pytest
from front_doors import ROOT

STUDY = (
    "study=drift", "-m", "study.phases=[production,analysis,report]", "study.seeds=[1,2]",
    "study.tasks=[sst2,mrpc,rte]",
)  # fmt: skip
KILLS = 20

CLOCKED = ("runs.csv", "runs.parquet")
"""Tables with each run's wall time and memory."""

PDF_CLOCK = re.compile(rb"(Creation|Mod)Date \(D:.*?\)|\[<\w+><\w+>\]")
"""When a PDF was made, and a digest of that."""


def contents(folder: Path) -> dict[str, bytes]:
    """All results but what is remembered of single runs, which is named after their times."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): PDF_CLOCK.sub(b"", path.read_bytes())
        for path in files
        if path.name not in CLOCKED and ".remembered" not in path.parts
    }


def trained_since(moment: float, folder: Path) -> bool:
    """Whether a cell began, or ended, after this moment."""
    records = folder.glob("runs/drift/*/*/*/run.json")
    return any(path.stat().st_mtime > moment for path in records)


@pytest.mark.slow
def test_twenty_kills_change_nothing(command, tmp_path):
    def start(folder: Path) -> subprocess.Popen:
        folder.mkdir(exist_ok=True)
        python, script, *typed = command(*STUDY, runs=Path("runs"))
        return subprocess.Popen([python, ROOT / script, *typed], cwd=folder)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    assert start(whole).wait() == 0
    seconds = time.monotonic() - began
    draw = random.Random(0)
    for _ in range(KILLS):
        # Each life ends within a second of training, or by a random time: starting or analysing.
        process, born = start(killed), time.time()
        end = born + draw.uniform(0.05, 0.5) * seconds
        while process.poll() is None and time.time() < end:
            if trained_since(born, killed):
                end = min(end, time.time() + draw.uniform(0, 1))
                born = end
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert start(killed).wait() == 0
    records = [json.loads(path.read_text()) for path in killed.glob("runs/drift/*/*/*/run.json")]
    assert [record["status"] for record in records] == ["success"] * 12
    assert any(record["resumed"] for record in records)
    assert contents(killed / "results") == contents(whole / "results")
