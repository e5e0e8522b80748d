"""What a study knows of its launcher, and of its searches: their options, trials and disk."""

from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import pytest
from planted_search import plant

from loradrift.config import UserError
from loradrift.launching import processes
from loradrift.runs import Cell
from loradrift.study import LoradriftStudySweeper, disk
from loradrift.study.costs.estimates import Estimates
from loradrift.study.dry_run import estimates_of
from loradrift.study.trials import largest_trial, search_arguments, settled_trials


@pytest.fixture
def program(hydra_program):
    """``program(*overrides)`` is one of a study."""
    return partial(hydra_program, "study=drift")


def test_jobs_at_a_time_are_the_launchers(program, monkeypatch):
    for launcher, number in (
        ([], 3), (["hydra/launcher=basic"], 1),
        (["trainer=gpu"], 1), (["trainer=gpu", "hydra.launcher.n_jobs=2"], 2),
        (["trainer=ddp", "trainer.devices=2"], 1),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 2),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=40"], 12),
        (["hydra/launcher=submitit_local"], 12), (["hydra/launcher=submitit_slurm"], 12),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=8"], 8),
    ):  # fmt: skip
        monkeypatch.setattr(processes, "num_cpus", lambda: 3)
        assert program(*launcher).at_a_time(12) == number


def test_cells_are_measured_with_the_threads_that_they_will_have(program, monkeypatch):
    monkeypatch.setattr(processes, "num_cpus", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for launcher, threads in (
        ([], 1), (["hydra.launcher.n_jobs=2"], 4), (["hydra/launcher=basic"], 8),
        (["hydra.launcher.inner_max_num_threads=3"], 3), (["trainer=gpu"], 8),
        (["hydra/launcher=submitit_local"], 8),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=6"], 6),
    ):  # fmt: skip
        found = program(*launcher)
        assert found.threads == threads, launcher
        made = []
        monkeypatch.setattr(Estimates, "measure", lambda own, _, made=made: made.append(own))
        # of the launcher, however few cells are unlike the finished ones
        assert estimates_of(found, [Mock(), Mock()]).threads == threads and len(made) == 1


def test_searches_have_their_sweepers_options_which_are_judged_before_the_first_phase(program):
    assert program().storage is None
    url = "postgresql+psycopg://me@host/x"
    assert program(f"hydra.sweeper.storage='{url}'", "hydra.sweeper.pruner=none").storage == url
    for option, message in (
        ("n_trials=3", r"n_trials has no effect on a study: type study\.trials"),
        ("pruner=strict", r"pruner must be median or .*, got strict"),
    ):
        config = program(f"hydra.sweeper.{option}").config
        sweeper = LoradriftStudySweeper(**config.hydra.sweeper)
        with pytest.raises(UserError, match=message):
            sweeper.setup(hydra_context=None, task_function=None, config=config)


@pytest.mark.end_to_end
def test_the_largest_trial_has_the_largest_values_of_its_space_and_no_dumps(program):
    trial = largest_trial(program(), search_arguments(["best=true"], "mrpc", "lora"))
    assert (trial.task.name, trial.method.rank, trial.method.alpha) == ("mrpc", 32, 64)
    sizes = disk.run_sizes(trial)
    assert sizes.activations == 0
    small = largest_trial(program(), search_arguments(["method.rank=4"], "mrpc", "lora"))
    assert small.method.rank == 4, "what was typed is not varied"
    assert sizes.weights > 7 * disk.run_sizes(small).weights
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


def size(*paths):
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


@pytest.mark.parametrize("method", [["method=full_finetune"], ["method=lora", "method.rank=32"]])
def test_the_estimate_is_what_a_run_leaves(compute, configure, monkeypatch, method):
    monkeypatch.setattr(Cell, "drop_resume_point", lambda cell: None)
    typed = (*method, "task.max_steps=3", "callbacks.activation_dump.rows=128")
    folder, _ = compute(*typed, "callbacks.forgetting.enabled=false")
    sizes = disk.run_sizes(configure(*typed))
    model = next((folder / "model").glob("*model.safetensors"))
    checkpoints = folder / "checkpoints"
    assert sizes.weights == pytest.approx(size(model, checkpoints / "best.ckpt"), rel=0.25)
    assert sizes.activations == pytest.approx(size(*folder.glob("activations/step=*")), rel=0.1)
    assert sizes.resume_point == pytest.approx(2 * size(checkpoints / "last.ckpt"), rel=0.25)


def test_a_study_that_does_not_fit_is_refused_with_figures(load, monkeypatch, tmp_path):
    sizes = disk.Sizes(weights=3 * 2**30, activations=2**20, resume_point=2**30)
    monkeypatch.setattr(disk, "run_sizes", lambda config: sizes)
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 7 * 2**30)
    runs = [replace(load(), seed=seed) for seed in (1, 2)]
    disk.check_disk(tmp_path, disk.study_sizes(runs[:1], 1), "drift")
    message = (
        r"study=drift needs about 8.0 GiB below .* \(6.0 GiB of weights, 2.0 MiB of activations, "
        r"2.0 GiB of checkpoints to resume from\), and 7.0 GiB are free; fewer seeds"
    )
    with pytest.raises(UserError, match=message):
        disk.check_disk(tmp_path, disk.study_sizes(runs, 2), "drift")


def test_epochs_count_steps_by_the_rows(load, cache):
    whole = load("task.max_steps=null", "task.epochs=2", "data.train_rows=640", f"cache={cache}")
    assert disk.num_steps(whole) == 2 * 640 // 32
    few = load("task.max_steps=null", "task.epochs=20", "task.batch_size=64", f"cache={cache}")
    assert disk.num_steps(few, 100) == 20  # an epoch has one whole batch of 64 in 100 rows
    split = replace(few, trainer=replace(few.trainer, accumulate=4))
    assert disk.num_steps(split, 100) == 5


def test_free_space_is_that_of_the_folder_to_be(tmp_path):
    there = pytest.approx(disk.free_bytes(tmp_path), rel=0.01)
    assert disk.free_bytes(tmp_path / "not" / "yet") == there
