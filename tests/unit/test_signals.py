"""Who hears of a signal, and what is said of the run that it ended."""

import json
import signal
import sys
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import front_doors
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from loradrift.callbacks.resume_point import ResumePoint, StopRequested
from loradrift.cli import entry_point as cli
from loradrift.cli import job_summary as closing
from loradrift.runs import Cell, Status, open_run, read_record
from loradrift.runs.cell import hold
from loradrift.signals import interruptible, pending, stop


@pytest.fixture
def submitit(monkeypatch):
    """The signals that submitit's handlers got; they exit as its own do."""
    heard: list[int] = []

    def requeue(number, frame):
        heard.append(number)
        raise SystemExit(144)

    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    handlers = {signal.SIGTERM: lambda number, frame: heard.append(number), signal.SIGUSR2: requeue}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def composed(load, tmp_path, monkeypatch):
    """A configuration as Hydra hands it to a job; ``load`` has registered the schemas."""
    mode = OmegaConf.create({"hydra": {"mode": RunMode.MULTIRUN}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", mode)
    return front_doors.composed(f"runs={tmp_path}/runs")


def test_a_pre_empted_run_is_recorded_and_then_requeued(composed, submitit):
    with pytest.raises(SystemExit) as exited, cli.cell(composed, []) as (_, cell):
        signal.raise_signal(signal.SIGTERM)  # only announces what comes
        signal.raise_signal(signal.SIGUSR2)
    assert exited.value.code == 144
    assert submitit == [signal.SIGTERM, signal.SIGUSR2]
    record = read_record(cell.folder)
    assert record.status is Status.INTERRUPTED
    assert record.error == "KeyboardInterrupt: pre-empted by the scheduler"
    with hold(cell.folder):  # the next process finds it free
        pass


def test_a_signal_at_the_very_end_requeues_nothing(composed, submitit):
    with cli.cell(composed, []):
        pass
    assert submitit == []


def test_ctrl_c_in_a_submitit_job_is_no_requeue(composed, submitit):
    with pytest.raises(KeyboardInterrupt), cli.cell(composed, []) as (_, cell):
        signal.raise_signal(signal.SIGINT)
    assert submitit == []
    assert read_record(cell.folder).error == "KeyboardInterrupt: interrupted"


def test_a_signal_while_evaluating_is_an_interruption_too(composed):
    with pytest.raises(KeyboardInterrupt), cli.cell(composed, []) as (_, cell):
        sys.exit(1)  # what Lightning makes of Ctrl-C
    assert read_record(cell.folder).status is Status.INTERRUPTED


@pytest.mark.parametrize("held", [False, True])
def test_what_is_known_of_a_lost_job_is_recorded(load, composed, tmp_path, capsys, held):
    config = load(f"runs={tmp_path}/runs")
    with open_run(config) as cell:
        pass
    with open_dict(composed):
        sweep = {"sweep": {"dir": str(tmp_path)}, "job": {"num": 3}}
        composed.hydra = {"overrides": {"task": []}, **sweep}
    own = composed.copy()
    with open_dict(own):
        del own["hydra"]
    outcome = JobReturn(cfg=own)
    # somebody may have taken it up in the meantime
    with hold(cell.folder) if held else nullcontext():
        closing.note_loss(composed, outcome, "its process was killed")
    assert outcome.status is JobStatus.FAILED
    with pytest.raises(cli.JobFailed, match="its process was killed"):
        outcome.return_value  # noqa: B018
    note = json.loads((tmp_path / "job=0003.json").read_text())
    assert (note["cell"], note["error"]) == (str(config.cell), "its process was killed")
    assert f"error: its process was killed (in {config.cell_name})" in capsys.readouterr().err
    assert read_record(cell.folder).status is (Status.RUNNING if held else Status.FAILED)


class Trainer:
    """One process, at its first step."""

    global_step = 1
    accumulate_grad_batches = 1
    loggers = ()

    def __init__(self):
        self.saved = []
        self.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace())
        self.strategy = SimpleNamespace(reduce_boolean_decision=lambda asked, all: asked)
        self.save_checkpoint = self.saved.append


def test_a_request_that_was_swallowed_ends_the_run_at_its_next_step(tmp_path):
    point, trainer = ResumePoint(tmp_path / "last.ckpt", 100), Trainer()
    with pytest.raises(KeyboardInterrupt), interruptible():
        with suppress(KeyboardInterrupt):  # as a library may
            signal.raise_signal(signal.SIGINT)
        assert pending() == signal.SIGINT
        with pytest.raises(StopRequested) as asked:
            point.on_train_batch_start(trainer, None, None, 0)
        assert trainer.saved == [tmp_path / "last.ckpt"]
        stop(asked.value.number)
    assert pending() is None
    point.on_train_batch_start(trainer, None, None, 0)


def test_a_second_request_does_not_cut_short_what_is_written_about_the_first(composed, monkeypatch):
    end = Cell.end

    def asked_again(*how):
        signal.raise_signal(signal.SIGINT)
        end(*how)

    monkeypatch.setattr(Cell, "end", asked_again)
    with pytest.raises(KeyboardInterrupt), cli.cell(composed, []) as (_, cell):
        signal.raise_signal(signal.SIGINT)
    assert read_record(cell.folder).status is Status.INTERRUPTED
