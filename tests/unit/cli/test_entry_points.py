"""A command that a test runs in this process leaves it as it was, and is told apart from none."""

import logging
import os
import signal
import sys
import warnings
from pathlib import Path

import pytest
import torch
from front_doors import run_here
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

RECKLESS = """
import logging, os, signal, sys, warnings
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

print(__name__, sys.argv[1:], os.getcwd(), os.environ["GIVEN"])
print("said to stderr", file=sys.stderr)
os.chdir("/")
os.environ["LEFT"] = "1"
del os.environ["KEPT"]
signal.signal(signal.SIGTERM, signal.SIG_IGN)
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, force=True)
logging.getLogger("known").disabled = True
warnings.simplefilter("error")
torch.set_num_threads(torch.get_num_threads() + 1)
GlobalHydra.instance().hydra = HydraConfig.instance().cfg = object()
"""


def state():
    known = logging.getLogger("known")
    return (
        sys.argv, sys.stdout, sys.stderr, sys.modules["__main__"], Path.cwd(), dict(os.environ),
        signal.getsignal(signal.SIGTERM), [*logging.root.handlers], logging.root.level,
        known.disabled, [*warnings.filters], torch.get_num_threads(),
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the reckless script with an end of its own."""
    monkeypatch.setenv("KEPT", "1")

    def run_script(end):
        script = tmp_path / "script.py"
        script.write_text(RECKLESS + end)
        return run_here(script, "typed=1", "-m", cwd=tmp_path, env={"GIVEN": "yes"})

    return run_script


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit()", 0), ("sys.exit(2)", 2), ("sys.exit('why')", 1)]
)
def test_a_command_is_run_as_a_script_and_its_traces_are_removed(run, tmp_path, end, code):
    before = state()
    done = run(end)
    assert state() == before
    assert done.returncode == code
    assert done.stdout == f"__main__ ['typed=1', '-m'] {tmp_path} yes\n"
    assert done.stderr.splitlines()[0] == "said to stderr"


def test_what_a_script_does_not_catch_is_raised_and_leaves_no_trace_either(run):
    before = state()
    with pytest.raises(ZeroDivisionError):
        run("1 / 0")
    assert state() == before
