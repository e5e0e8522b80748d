"""A study's command."""

import pytest
from front_doors import run_here
from studying import APP, TYPED


@pytest.fixture(scope="module")
def run(cache):
    """Exit code, stdout and stderr of a command in this process."""

    def command(folder, *overrides):
        done = run_here(APP, *TYPED, f"cache={cache}", *overrides, cwd=folder)
        return done.returncode, done.stdout, done.stderr

    return command
