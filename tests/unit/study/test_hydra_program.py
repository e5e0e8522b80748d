"""What a study knows of its launcher and of its searches' options."""

import pytest
from hydra import compose, initialize_config_dir

from loradrift.config import UserError
from loradrift.launching import processes
from loradrift.study import LoradriftStudySweeper
from loradrift.study.hydra_program import Program


@pytest.fixture
def program(load, request):
    def composed(*overrides):
        load()  # makes the groups known
        conf = str(request.config.rootpath / "conf")
        with initialize_config_dir(conf):
            cfg = compose("train", ["study=drift", *overrides], return_hydra_config=True)
        return Program(None, None, cfg)

    return composed


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        (["hydra/launcher=basic"], 1),
        ([], 3),
        (["trainer=ddp", "trainer.devices=2"], 1),
        (["trainer=gpu"], 1),
        (["trainer=gpu", "hydra.launcher.n_jobs=2"], 2),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 2),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=40"], 12),
        (["hydra/launcher=submitit_local"], 12),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=8"], 8),
        (["hydra/launcher=submitit_slurm"], 12),
    ],
)
def test_jobs_at_a_time_are_the_launchers(program, launcher, number, monkeypatch):
    monkeypatch.setattr(processes, "num_cpus", lambda: 3)
    assert program(*launcher).at_a_time(12) == number


def test_the_searches_have_their_sweepers_options(program):
    assert program().storage is None
    url = "postgresql+psycopg://me@host/x"
    assert program(f"hydra.sweeper.storage='{url}'", "hydra.sweeper.pruner=none").storage == url


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("hydra.sweeper.n_trials=3", r"n_trials has no effect on a study: type study\.trials"),
        ("hydra.sweeper.pruner=strict", r"pruner must be median or .*, got strict"),
    ],
)
def test_options_are_judged_before_the_first_phase(program, typed, message):
    config = program(typed).config
    sweeper = LoradriftStudySweeper(**{k: v for k, v in config.hydra.sweeper.items()})
    config.hydra.overrides.hydra = [typed]
    with pytest.raises(UserError, match=message):
        sweeper.setup(hydra_context=None, task_function=None, config=config)
