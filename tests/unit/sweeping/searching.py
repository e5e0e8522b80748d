"""A search, in a process of its own or in this one, and what it left; shared by tests."""

import sys
from collections import Counter
from pathlib import Path

import optuna
from fork_server import ForkedProcess
from front_doors import run_here

APP = Path(__file__).with_name("quick_train.py")
LR = "method.optim.lr=tag(log,interval(1e-4,1e-2))"


def typed(*overrides, runs, n_trials):
    fixed = ["task=sst2", "method=lora", LR, "-m", f"runs={runs}", f"results={runs}/results"]
    fixed += ["hydra/sweeper=loradrift_optuna", "hydra.sweeper.sampler.seed=42"]
    return [*fixed, f"hydra.sweeper.n_trials={n_trials}", *overrides]


def search(*overrides, runs, env=None, n_trials=10):
    command = [sys.executable, str(APP), *typed(*overrides, runs=runs, n_trials=n_trials)]
    return ForkedProcess(command, runs, env)


def finish(process):
    out, err = process.communicate()
    return process.returncode, out, err


def run(*overrides, **options):
    return finish(search(*overrides, **options))


def search_here(*overrides, runs, n_trials=10):
    """The same as ``run``, in this process."""
    done = run_here(APP, *typed(*overrides, runs=runs, n_trials=n_trials), cwd=runs)
    return done.returncode, done.stdout, done.stderr


def trials(runs, url=None):
    url = url or f"sqlite:///{runs}/.search/main.db"
    return optuna.load_study(study_name="main/sst2/lora", storage=url).trials


def states(found):
    return Counter(trial.state.name for trial in found)


def begun(runs):
    lines = [line.split() for line in (runs / "begun.log").read_text().splitlines()]
    return [(int(number), cell, float(when)) for number, cell, when in lines]


def settled(found):
    return states(found)["COMPLETE"] + states(found)["PRUNED"]
