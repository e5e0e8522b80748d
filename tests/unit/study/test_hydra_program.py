"""What a study knows of its launcher, and of its searches: their options, trials and disk."""

from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from planted_search import plant

from loradrift.config import UserError
from loradrift.launching import processes
from loradrift.study import LoradriftStudySweeper
from loradrift.study.disk import run_sizes
from loradrift.study.hydra_program import Program
from loradrift.study.trials import largest_trial, search_arguments, settled_trials


@pytest.fixture
def program(load, request, cache):
    """``program(*overrides)`` is what Hydra gives to the study's sweeper."""
    load()  # makes the groups known
    with initialize_config_dir(str(request.config.rootpath / "conf")):
        loader = GlobalHydra.instance().config_loader()

        def composed(*overrides):
            typed = ["study=drift", f"cache={cache}", *overrides]
            config = loader.load_configuration("train", typed, run_mode=RunMode.MULTIRUN)
            config.hydra.job.config_name = "train"
            return Program(SimpleNamespace(config_loader=loader), None, config)

        yield composed


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
    with pytest.raises(UserError, match=message):
        sweeper.setup(hydra_context=None, task_function=None, config=config)


def test_the_largest_trial_has_the_largest_values_of_its_space_and_no_dumps(program):
    trial = largest_trial(program(), search_arguments(["best=true"], "mrpc", "lora"))
    assert (trial.task.name, trial.method.rank, trial.method.alpha) == ("mrpc", 32, 64)
    sizes = run_sizes(trial)
    assert sizes.activations == 0
    small = largest_trial(program(), search_arguments(["method.rank=4"], "mrpc", "lora"))
    assert small.method.rank == 4, "what was typed is not varied"
    assert sizes.weights > 7 * run_sizes(small).weights
    full = largest_trial(program(), search_arguments([], "sst2", "full_finetune"))
    assert (full.method.name, full.task.batch_size) == ("full_finetune", 16)


def test_trials_that_failed_by_themselves_count_and_those_under_way_do_not(tmp_path):
    plant(tmp_path, "drift/sst2/lora")
    plant(tmp_path, "drift/mrpc/lora", trials=2)
    runs = tmp_path / "runs"
    counted = {"drift/sst2/lora": 5, "drift/mrpc/lora": 2}
    assert settled_trials(runs, "drift", None) == counted
    elsewhere = (runs / ".search/drift.db").rename(tmp_path / "elsewhere.db")
    assert settled_trials(runs, "drift", f"sqlite:///{elsewhere}") == counted


def test_a_storage_that_is_not_there_or_no_storage_has_none_and_is_not_made(tmp_path):
    runs = tmp_path / "runs"
    assert settled_trials(runs, "drift", None) == {}
    assert settled_trials(runs, "drift", f"sqlite:///{tmp_path}/other.db") == {}
    assert not list(tmp_path.iterdir())
    (runs / ".search").mkdir(parents=True)
    for content in (b"", b"no database at all" * 99):
        (runs / ".search/drift.db").write_bytes(content)
        assert settled_trials(runs, "drift", None) == {}
        assert (runs / ".search/drift.db").read_bytes() == content
