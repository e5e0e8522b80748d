"""Commands with a training that takes a moment, and what they left; shared by tests.

They run in a process of their own or in this one.
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
from fork_server import ForkedProcess
from front_doors import run_here

APP = Path(__file__).with_name("quick_train.py")
PLANTED = Path(__file__).parents[1] / "analysis" / "drift"
LR = "method.optim.lr=tag(log,interval(1e-4,1e-2))"
STUDY = ("study=drift", "-m", "task=sst2")


def fork(folder, *overrides, env=None):
    path = os.pathsep.join([str(PLANTED), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(APP), *overrides]
    return ForkedProcess(command, folder, {"PYTHONPATH": path} | (env or {}))


def finish(process, code=0):
    """What a process says, which ends with ``code``."""
    out, err = process.communicate()
    assert process.returncode == code, err
    return out, err


def typed(*overrides, runs, n_trials):
    fixed = ["task=sst2", "method=lora", LR, "-m", f"runs={runs}", f"results={runs}/results"]
    fixed += ["hydra/sweeper=loradrift_optuna", "hydra.sweeper.sampler.seed=42"]
    return [*fixed, f"hydra.sweeper.n_trials={n_trials}", *overrides]


def search(*overrides, runs, env=None, n_trials=10):
    return fork(runs, *typed(*overrides, runs=runs, n_trials=n_trials), env=env)


def run(*overrides, code=0, **options):
    return finish(search(*overrides, **options), code)


def search_here(*overrides, runs, n_trials=10, code=0):
    """The same as ``run``, in this process."""
    done = run_here(APP, *typed(*overrides, runs=runs, n_trials=n_trials), cwd=runs)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def trials(runs, url=None):
    url = url or f"sqlite:///{runs}/.search/main.db"
    return optuna.load_study(study_name="main/sst2/lora", storage=url).trials


def states(found):
    return Counter(trial.state.name for trial in found)


def settled(found):
    return states(found)["COMPLETE"] + states(found)["PRUNED"]


def begun(runs, wanted=0):
    """The cells in the order in which they began; waits for as many as are wanted."""
    log = runs / "begun.log"
    while len(lines := log.read_text().splitlines() if log.exists() else []) < wanted:
        time.sleep(0.02)
    return [line.split()[1] for line in lines]


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
