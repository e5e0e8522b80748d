"""A study's command."""

import pytest
from front_doors import run_here
from searching import APP, STUDY

HERE = "hydra/launcher=basic"
"""Its cells run one after the other in the command's own process."""


@pytest.fixture(scope="module")
def run(cache):
    """What a command in this process says, on stdout and stderr; it ends with ``code``."""

    def command(folder, *overrides, launcher=HERE, code=0):
        typed = [launcher] if launcher else []
        done = run_here(APP, *STUDY, *typed, f"cache={cache}", *overrides, cwd=folder)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    return command
