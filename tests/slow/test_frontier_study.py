"""study=frontier with real trainings in two processes, one rate of which diverges, to its page."""

import json
import subprocess
import sys

import pytest
from conftest import SMALL
from front_doors import ROOT, kill_when

STUDY = (
    "study=frontier", "-m", "seed=1,2", "study.factors=[1,10,1e30]", "hydra.launcher.n_jobs=2",
    "study.configurations=[full_finetune,lora_r8,head_only]",
)  # fmt: skip
NUMBER = 3 * 3 * 2


@pytest.mark.slow
def test_killed_once_it_ends_with_a_report_that_shows_what_diverged(cache, tmp_path):
    typed = [*SMALL, *STUDY, f"cache={cache}", f"runs={tmp_path}/runs"]
    command = [sys.executable, "train.py", *typed, f"results={tmp_path}/results"]

    def start() -> subprocess.Popen:
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipe)

    process = start()
    kill_when(process, lambda: len(list(tmp_path.glob("runs/frontier/**/run.json"))) >= 4)
    process = start()
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert f"study frontier: {NUMBER} cells" in out and "diverged" in out
    records = [json.loads(p.read_text()) for p in tmp_path.glob("runs/frontier/**/run.json")]
    assert len(records) == NUMBER
    failed = [each for each in records if each["status"] == "failed"]
    assert len(failed) == NUMBER / 3
    assert all(each["error"].startswith("the loss became") for each in failed)
    found = json.loads((tmp_path / "results/frontier/frontier.json").read_text())
    rates = {(row["arm"], row["rate"]): row for row in found["rates"]}
    assert len(rates) == 9 and sum(row["diverged"] for row in rates.values()) == NUMBER / 3
    whole = [row for row in rates.values() if not row["diverged"]]
    for row in whole:
        assert row["norm"] == 0 if row["arm"] == "head_only" else row["norm"] > 0
        assert row["forgetting"] is not None and 0 <= row["score"] <= 1
    # ten times the rate moves the weights further, and the representations with them
    for arm in ("full_finetune", "lora_r8"):
        one, ten = sorted((row for row in whole if row["arm"] == arm), key=lambda r: r["rate"])
        assert one["norm"] < ten["norm"] and one["drift"] < ten["drift"]
    assert (tmp_path / "results/frontier/report.html").is_file()
    assert (tmp_path / "results/frontier/figures/drift_against_norm.svg").is_file()
