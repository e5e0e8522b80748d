"""The disk that a search needs is judged by the largest trial that may be drawn."""

from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from planted_search import plant

from loradrift.study.disk import run_sizes
from loradrift.study.hydra_program import Program
from loradrift.study.trials import largest_trial, search_arguments, settled_trials


@pytest.fixture
def program(load, request, cache):
    load()  # makes the groups known
    conf = str(request.config.rootpath / "conf")
    with initialize_config_dir(conf):
        loader = GlobalHydra.instance().config_loader()
        typed = ["study=drift", f"cache={cache}"]
        config = loader.load_configuration("train", typed, run_mode=RunMode.MULTIRUN)
        config.hydra.job.config_name = "train"
        yield Program(SimpleNamespace(config_loader=loader), None, config)


def test_it_has_the_largest_rank_of_the_space_and_no_dumps(program):
    trial = largest_trial(program, search_arguments(["best=true"], "mrpc", "lora"))
    assert (trial.task.name, trial.method.rank, trial.method.alpha) == ("mrpc", 32, 64)
    sizes = run_sizes(trial)
    assert sizes.activations == 0
    small = largest_trial(program, search_arguments(["method.rank=4"], "mrpc", "lora"))
    assert small.method.rank == 4, "what was typed is not varied"
    assert sizes.weights > 7 * run_sizes(small).weights


def test_full_fine_tuning_has_its_own_space(program):
    trial = largest_trial(program, search_arguments([], "sst2", "full_finetune"))
    assert (trial.method.name, trial.task.batch_size) == ("full_finetune", 16)


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
