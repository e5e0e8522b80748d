"""study=sequence with real trainings in two processes, killed in its second step, to its page."""

import json
import subprocess
import sys

import pytest
from conftest import SMALL
from front_doors import ROOT, kill_when, output_of, run_here
from leavings import cells

STUDY = (
    "study=sequence", "-m", "seed=1,2,3", "task=rte,mrpc,sst2", "method=full_finetune,lora",
    "hydra.launcher.n_jobs=2",
)  # fmt: skip
SAME = ("metrics", "fingerprints", "start", "steps", "budget")


@pytest.mark.slow
def test_killed_in_its_second_step_it_ends_as_if_it_had_not_been(cache, tmp_path):
    def typed(folder):
        places = [f"cache={cache}", f"runs={folder}/runs", f"results={folder}/results"]
        return [*SMALL, *STUDY, *places]

    def start() -> subprocess.Popen:
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        command = [sys.executable, "train.py", *typed(tmp_path)]
        return subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipe)

    process = start()
    kill_when(process, lambda: list(tmp_path.glob("runs/sequence/mrpc/*/seed=2/checkpoints/*")))
    process = start()
    out, _ = process.communicate()
    assert process.returncode == 0, out
    killed = cells(tmp_path / "runs/sequence")
    assert len(killed) == 3 * 2 * 3 and "study sequence: 18 cells" in out
    assert {record["status"] for record in killed.values()} == {"success"}
    folder = tmp_path / "whole"
    output_of(run_here(ROOT / "train.py", *typed(folder), "study.phases=[base,chain]"))
    whole = cells(folder / "runs/sequence")
    assert whole.keys() == killed.keys()
    for name, record in whole.items():
        for key in SAME:
            one, other = record[key], killed[name][key]
            if key == "start" and one:  # but for the folder as typed
                one, other = ({**each, "run": ""} for each in (one, other))
            assert one == other, (name, key)
    assert (tmp_path / "results/sequence/report.html").is_file()
    found = json.loads((tmp_path / "results/sequence/sequence.json").read_text())
    assert found
