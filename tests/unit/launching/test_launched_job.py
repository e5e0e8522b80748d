"""A job that waited for its turn longer than its search lived."""

import optuna
import pytest
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf
from optuna.trial import TrialState

from loradrift.launching import launched_job
from loradrift.sweeping.storage import open_storage

NAME = "main/sst2/lora"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


@pytest.fixture
def begin(url, monkeypatch):
    """Begin the job of a trial; gives its outcome, and whether anything was run."""

    def call(number, storage=url):
        search = {"trial": number, "study": NAME, "storage": storage}
        cfg = OmegaConf.create({"search": search})
        monkeypatch.setattr(launched_job.LaunchedJob, "config", property(lambda self: cfg))
        monkeypatch.setattr(launched_job, "run_job", lambda **kwargs: "ran")
        return launched_job.LaunchedJob(None, None, None, ["seed=1"], 3, singletons=state)()

    from hydra.core.singleton import Singleton

    state = Singleton.get_state()
    return call


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE])
def test_a_trial_that_has_ended_is_not_run_again(begin, url, state, capsys):
    study = optuna.create_study(study_name=NAME, storage=open_storage(url))
    study.ask()
    assert begin(0) == "ran"
    study.tell(0, 0.5 if state is TrialState.COMPLETE else None, state=state)
    assert begin(0).status is JobStatus.COMPLETED
    said = "trial 0 of main/sst2/lora was given up while this job waited; another job runs it\n"
    assert capsys.readouterr().out == said


def test_what_is_no_trial_or_in_no_storage_is_left_to_the_job(begin, tmp_path):
    assert begin(None) == "ran"
    (tmp_path / "file").touch()
    assert begin(0, f"sqlite:///{tmp_path}/file/trials.db") == "ran"
