"""A study's command, and what Hydra gives to its sweeper."""

import pytest
from front_doors import ROOT, run_here
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from searching import APP, STUDY

from loradrift.study.hydra_program import Program

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


@pytest.fixture
def hydra_program(load, cache):
    """``hydra_program(*overrides)`` is what Hydra gives to the study's sweeper."""
    load()  # makes the groups known
    with initialize_config_dir(str(ROOT / "conf")):
        loader = GlobalHydra.instance().config_loader()

        def composed(*overrides):
            typed = [f"cache={cache}", *overrides]
            config = loader.load_configuration("train", typed, run_mode=RunMode.MULTIRUN)
            config.hydra.job.config_name = "train"
            return Program(HydraContext(loader, Callbacks()), None, config)

        yield composed
