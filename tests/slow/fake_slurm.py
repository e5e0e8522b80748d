"""SLURM as far as submitit sees it, on this machine.

The first argument is the program: sbatch, srun, sacct or scontrol. State is files in $FAKE_SLURM:
``<job>.state``, and ``<job>.requeue`` while that is asked for.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])
ARRAY = "4242"


def sbatch(script: str) -> None:
    text = Path(script).read_text()
    (STATE / "script.sh").write_text(text)
    array = re.search(r"--array='?0-(\d+)", text)
    for task in range(int(array[1]) + 1) if array else [None]:
        name = ARRAY if task is None else f"{ARRAY}_{task}"
        (STATE / f"{name}.state").write_text("RUNNING")
        command = [sys.executable, __file__, "run", script, name]
        quiet = subprocess.DEVNULL  # who submits waits until nobody holds sbatch's own pipes
        subprocess.Popen(command, start_new_session=True, stdout=quiet, stderr=quiet)
    print(f"Submitted batch job {ARRAY}")


def run(script: str, name: str) -> None:
    """One job, started again for as long as it is requeued."""
    array, _, task = name.partition("_")
    env = os.environ | {"SLURM_JOB_ID": array, "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}
    if task:
        env |= {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": task}
    while True:
        code = subprocess.run(["bash", script], env=env, check=False).returncode
        try:
            (STATE / f"{name}.requeue").unlink()
        except FileNotFoundError:
            break
    (STATE / f"{name}.state").write_text("FAILED" if code else "COMPLETED")


def srun(*arguments: str) -> int:
    files: dict[str, str] = {}
    rest = list(arguments)
    while rest[0].startswith("--"):
        option = rest.pop(0)
        if option in ("--output", "--error"):
            files[option] = rest.pop(0)
    places = {
        "%A": os.environ.get("SLURM_ARRAY_JOB_ID", ""),
        "%a": os.environ.get("SLURM_ARRAY_TASK_ID", ""),
        "%j": os.environ["SLURM_JOB_ID"],
        "%t": "0",
    }
    for option, name in files.items():
        files[option] = re.sub("%[Aajt]", lambda found: places[found[0]], name)
        Path(files[option]).parent.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    with open(files["--output"], "a") as out, open(files["--error"], "a") as err:
        return subprocess.run(rest, stdout=out, stderr=err, env=env, check=False).returncode


def sacct(*_: str) -> None:
    print("JobID|State|NodeList")
    for path in sorted(STATE.glob("*.state")):
        print(f"{path.stem}|{path.read_text()}|here")


def scontrol(action: str, name: str) -> None:
    assert action == "requeue"
    (STATE / f"{name}.requeue").touch()


if __name__ == "__main__":
    _, called, *arguments = sys.argv
    sys.exit(globals()[called](*arguments))
