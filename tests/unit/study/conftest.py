"""A study's command."""

import pytest
from front_doors import run_here
from studying import APP, HERE, TYPED


@pytest.fixture(scope="module")
def run(cache):
    """Exit code, stdout and stderr of a command in this process."""

    def command(folder, *overrides, launcher=HERE):
        typed = [launcher] if launcher else []
        done = run_here(APP, *TYPED, *typed, f"cache={cache}", *overrides, cwd=folder)
        return done.returncode, done.stdout, done.stderr

    return command
