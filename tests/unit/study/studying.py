"""A study with a training that takes a moment, and what it left; shared by tests."""

import os
import sys
from pathlib import Path

from fork_server import ForkedProcess

APP = Path(__file__).with_name("quick_train.py")
PLANTED = Path(__file__).parents[1] / "analysis" / "drift"


TYPED = ("study=drift", "-m", "task=sst2")

HERE = "hydra/launcher=basic"
"""Its cells run one after the other in the command's own process."""


def start(folder, *overrides):
    command = [sys.executable, str(APP), *TYPED, *overrides]
    path = os.pathsep.join([str(PLANTED), os.environ.get("PYTHONPATH", "")])
    return ForkedProcess(command, folder, {"PYTHONPATH": path})


def begun(folder):
    log = folder / "runs" / "begun.log"
    return log.read_text().splitlines() if log.exists() else []


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
