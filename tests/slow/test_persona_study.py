"""study=persona with real trainings, answers and analyses in two processes, killed at times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL
from front_doors import ROOT, kill_when

STUDY = (
    "study=persona", "-m", "task.trait=cheerful,cautious", "study.share_seeds=[3]",
    "study.shares=[0,1]", "study.composed={weight:0.5,activation:1}",
    "study.doses={prompt:[1],activation:[1],weight:[-0.5,0.5],weight_positive:[0.5],"
    "bias_only:[1],random_weight:[0.5],random_activation:[1]}",
    "study.questions=4", "study.max_tokens=8", "study.answers=4", "hydra.launcher.n_jobs=2",
)  # fmt: skip
NUMBER = 8 + (2 * 2 * 2 + 2) + (2 * 9 + 2 * 2) + (8 + 8 * 2 + 2) + 1


def running(folder: Path) -> list[str]:
    """The kinds of the cells that have begun and not ended."""
    records = [json.loads(path.read_text()) for path in folder.glob("runs/**/run.json")]
    return [each["kind"] for each in records if each["status"] == "running"]


@pytest.mark.slow
def test_killed_in_each_kind_of_work_it_ends_with_a_report(cache, tmp_path):
    small = [each for each in SMALL if not each.startswith("data.")]
    typed = [*small, *STUDY, f"cache={cache}", f"runs={tmp_path}/runs"]
    typed.append(f"results={tmp_path}/results")

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "train.py", *typed], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip

    for kind in ("training", "steering"):
        process = start()
        kill_when(process, lambda kind=kind: kind in running(tmp_path))
    process = start()
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert f"study persona: {NUMBER} cells" in out
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/**/run.json")]
    assert len(records) == NUMBER and {each["status"] for each in records} == {"success"}
    assert len(list(tmp_path.glob("runs/steering/hf/*/judged/oracle/cheerful.csv"))) == NUMBER - 19
    found = json.loads((tmp_path / "results/persona/persona.json").read_text())
    assert not found["missing"] and found["efficiency"] is not None
    assert {"equivalence", "prediction", "composition"} < found["findings"].keys()
    assert (tmp_path / "results/persona/report.html").is_file()
    projections = json.loads((tmp_path / "results/persona/persona_projection.json").read_text())
    assert projections["runs"] >= 8 and projections["monitor"]
