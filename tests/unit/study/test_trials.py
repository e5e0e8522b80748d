"""The disk that a search needs is judged by the largest trial that may be drawn."""

from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from loradrift.study.disk import run_sizes
from loradrift.study.program import Program
from loradrift.study.trials import largest_trial, search_arguments


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
