"""What launchers do when a job, a package or a cluster is missing, or a trial has ended."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path

import optuna
import pytest
from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf
from optuna.trial import TrialState

from loradrift.config import UserError
from loradrift.launching import launched_job, scheduler
from loradrift.launching.processes import JoblibLauncher
from loradrift.launching.scheduler import LocalLauncher, SlurmLauncher
from loradrift.sweeping.storage import open_storage
from loradrift.sweeping.trial_callback import has_ended

pytestmark = pytest.mark.end_to_end

NOTHING = {"hydra_context": None, "task_function": None, "config": None}


@dataclass
class Order:
    """A job that does what its only override says."""

    overrides: list[str]
    number: int

    def __call__(self) -> str:
        match self.overrides:
            case ["die"]:
                os.kill(os.getpid(), signal.SIGKILL)
            case ["stop"]:
                raise KeyboardInterrupt
            case ["save"]:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
                Path("begun").touch()
                try:
                    time.sleep(60)
                except KeyboardInterrupt:
                    Path("saved").touch()
        return f"{self.overrides[0]} by {os.getpid()}"

    def lost(self, reason: str) -> str:
        return f"lost: {reason}"


class Orders(JoblibLauncher):
    """Two workers, ready for such jobs."""

    def __init__(self):
        super().__init__(n_jobs=2, inner_max_num_threads=1)
        self.setup(**NOTHING)

    def jobs(self, overrides, first):
        return [Order(list(each), number) for number, each in enumerate(overrides, first)]


def test_a_killed_worker_takes_no_other_job_with_it():
    launcher = Orders()
    outcomes = launcher.launch([["one"], ["die"], ["two"], ["three"]], 7)
    assert outcomes[1] == "lost: its process was killed (SIGKILL(-9))"
    done = [each.partition(" by ") for each in outcomes[:1] + outcomes[2:]]
    assert [name for name, _, _ in done] == ["one", "two", "three"]
    workers = {pid for _, _, pid in done}
    [again] = launcher.launch([["four"]], 11)
    assert again.partition(" by ")[2] in workers  # it is kept for the next batch
    launcher.dismiss()
    until = time.monotonic() + 60
    while any(each.pid in map(int, workers) for each in active_children()):
        assert time.monotonic() < until, "a worker without a job is still there"
        time.sleep(0.01)
    [other] = launcher.launch([["five"]], 12)
    assert other.startswith("five by ") and other.partition(" by ")[2] not in workers


def test_a_job_that_was_asked_to_stop_stops_the_multirun_and_not_its_neighbours():
    stopped, other = Orders().launch([["stop"], ["one"]], 0)
    assert other.startswith("one by ")
    with pytest.raises(KeyboardInterrupt):
        stopped.return_value  # noqa: B018  # Hydra raises what it is


LAUNCH = """
import sys
sys.path.insert(0, sys.argv[1])
from test_launchers import Orders

Orders().launch([["save"], ["one"]], 0)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_workers_do_not_outlive_who_launched_them(tmp_path):
    typed = [sys.executable, "-c", LAUNCH, str(Path(__file__).parent)]
    process = subprocess.Popen(typed, cwd=tmp_path, stderr=subprocess.DEVNULL)
    begun = tmp_path / "begun"
    while not begun.exists() or len(workers := workers_of(process.pid)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < until, "a worker is still there"
        time.sleep(0.01)
    assert (tmp_path / "saved").exists(), "the job at hand was asked to stop, and saved"


def workers_of(pid):
    """Its workers: children of the child that forks them."""
    servers = [n for n in children(pid) if b"forkserver" in Path(f"/proc/{n}/cmdline").read_bytes()]
    return [n for server in servers for n in children(server)]


def children(pid):
    return [int(n) for path in Path(f"/proc/{pid}/task").glob("*/children")
            for n in path.read_text().split()]  # fmt: skip


def test_without_submitit_or_slurm_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(scheduler, "which", lambda name: None)
    for launcher, submitit, message in (
        (LocalLauncher, None, r"launcher=submitit_local needs .* pip install '.\[cluster\]'"),
        (SlurmLauncher, None, r"launcher=submitit_slurm needs .* pip install '.\[cluster\]'"),
        (SlurmLauncher, "found", r"no sbatch and srun: .* or take submitit_local"),
    ):
        monkeypatch.setattr(scheduler, "find_spec", lambda name, found=submitit: found)
        with pytest.raises(UserError, match=message):
            launcher().setup(**NOTHING)


def test_a_setting_out_of_range_names_its_key():
    for launcher, settings, message in (
        (JoblibLauncher, {"n_jobs": 0}, "hydra.launcher.n_jobs must be positive, or -1 .*, got 0"),
        (LocalLauncher, {"timeout_min": 0}, "hydra.launcher.timeout_min must be positive, got 0"),
        (SlurmLauncher, {"mem_gb": -1}, "hydra.launcher.mem_gb must be positive, got -1"),
        (SlurmLauncher, {"gpus_per_node": -1}, "launcher.gpus_per_node must be at least 0, got -1"),
        (SlurmLauncher, {"timeout_min": 2, "signal_delay_s": 120},
         "signal_delay_s must be less than the hydra.launcher.timeout_min=2 minutes, got 120"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            launcher(**settings)


NAME = "main/sst2/lora"


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin the job of a trial; gives its outcome, and whether anything was run."""
    state = Singleton.get_state()

    def call(number, database="trials.db"):
        search = {"trial": number, "study": NAME, "storage": f"sqlite:///{tmp_path}/{database}"}
        cfg = OmegaConf.create({"search": search})
        monkeypatch.setattr(launched_job.LaunchedJob, "config", property(lambda self: cfg))
        monkeypatch.setattr(launched_job, "run_job", lambda **kwargs: "ran")
        return launched_job.LaunchedJob(None, None, None, ["seed=1"], 3, singletons=state)()

    return call


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE])
def test_a_trial_that_ended_while_its_job_waited_is_not_run_again(begin, tmp_path, state, capsys):
    url = f"sqlite:///{tmp_path}/trials.db"
    study = optuna.create_study(study_name=NAME, storage=open_storage(url))
    study.ask()
    assert begin(0) == "ran"
    study.tell(0, 0.5 if state is TrialState.COMPLETE else None, state=state)
    assert begin(0).status is JobStatus.COMPLETED
    said = "trial 0 of main/sst2/lora was given up while this job waited; another job runs it\n"
    assert capsys.readouterr().out == said


def test_what_is_no_trial_or_in_no_storage_is_left_to_the_job(begin, tmp_path):
    (tmp_path / "file").touch()
    assert begin(None) == begin(0, "file/trials.db") == "ran"
    assert not has_ended(OmegaConf.create({"benchmark": "steering"}))
