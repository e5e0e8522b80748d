"""study=reconstruction with real trainings in two processes, killed at times, to its report."""

import json
import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest
from conftest import SMALL
from front_doors import ROOT, kill_when

STUDY = (
    "study=reconstruction", "-m", "seed=1,2", "study.latents=[4,8]",
    "study.configurations=[none,r4_a8_l8,r8_a16_all]", "study.samples=64", "study.epochs=2",
    "task.num_latents=8", "task.d_z=8", "task.generated_rows=16", "trainer.validate_every=2",
    "hydra.launcher.n_jobs=2",
)  # fmt: skip
NUMBER = 3 * 2 + 1


def begun(folder: Path) -> int:
    """How many cells have begun."""
    return len(list(folder.glob("runs/reconstruction/**/run.json")))


@pytest.mark.slow
def test_killed_in_each_phase_it_ends_with_report_and_export(cache, tmp_path):
    small = [each for each in SMALL if not each.startswith(("data.", "task."))]
    typed = [*small, *STUDY, f"cache={cache}", f"runs={tmp_path}/runs"]
    typed.append(f"results={tmp_path}/results")

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "train.py", *typed], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip

    for wanted in (2, NUMBER):  # in the sweep, and in the rates
        process = start()
        kill_when(process, lambda wanted=wanted: begun(tmp_path) >= wanted)
    process = start()
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert f"study reconstruction: {NUMBER} cells" in out
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/**/run.json")]
    own = [each for each in records if each["coordinates"]["study"] == "reconstruction"]
    assert len(own) == NUMBER and {each["status"] for each in own} == {"success"}
    found = glob(f"{tmp_path}/runs/phase1a_lora_sweep/*/diagnostics.jsonl")
    assert len(found) == 3
    rows = [json.loads(line) for path in found for line in Path(path).read_text().splitlines()]
    places = [(row["configuration"], row["seed"], row["step"]) for row in rows]
    assert len(set(places)) == len(places) and {row["seed"] for row in rows} == {1, 2}
    assert {row["step"] for row in rows} >= {4}  # 2 passes over 64 rows, 32 at a time
    assert max(row["text_f1"] for row in rows) >= 0
    text = (tmp_path / "runs/phase1a_lora_sweep/sweep_summary.txt").read_text()
    assert "Not finished" not in text and "verdict" in text
    assert (tmp_path / "results/reconstruction/report.html").is_file()
    assert json.loads((tmp_path / "results/reconstruction/reconstruction.json").read_text())
