"""A study that is killed again and again ends as one that is not."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SMALL

ROOT = Path(__file__).parents[2]
STUDY = (
    "study=drift", "-m", "study.phases=[production,analysis,report]", "study.seeds=[1,2]",
    "study.tasks=[sst2,mrpc,rte]",
)  # fmt: skip
KILLS = 20

CLOCKED = ("runs.csv", "runs.parquet")
"""Tables with each run's wall time and memory."""


def start(folder: Path, cache: Path) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, *STUDY, f"cache={cache}"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in CLOCKED
    }


@pytest.mark.slow
def test_twenty_kills_change_nothing(cache, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    assert start(whole, cache).wait() == 0
    seconds = time.monotonic() - began
    draw = random.Random(0)
    for _ in range(KILLS):
        process = start(killed, cache)
        try:  # each life is long enough for a cell or two, and some for the analysis
            process.wait(draw.uniform(0.05, 0.5) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
    assert start(killed, cache).wait() == 0
    records = [json.loads(path.read_text()) for path in killed.glob("runs/drift/*/*/*/run.json")]
    assert [record["status"] for record in records] == ["success"] * 12
    assert any(record["resumed"] for record in records)
    assert contents(killed / "results") == contents(whole / "results")
