"""What the command line says: help, completion, and one clear line for each mistake."""

import re
import subprocess
import sys

import pytest
from front_doors import error_of, output_of

from loradrift.cli.entry_point import entry_point
from loradrift.config import UserError


def test_help_and_completion_say_what_there_is(train):
    shown = output_of(train("--help", small=False))
    assert "task        sst2 | mrpc | rte | squad_v2 | reconstruction | persona | pretrain" in shown
    composed = train("--cfg", "job", "method=full_finetune", small=False)
    assert "name: full_finetune" in composed.stdout
    env = {"COMP_LINE": "python train.py method=l", "COMP_POINT": "24"}
    completed = train("-sc", "query=bash", small=False, env=env)
    assert "method=lora" in completed.stdout


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=sst3"], "task=sst3: no such option. Did you mean: task=sst2?"),
        (["method.rank=0"], "method.rank must be positive, got 0"),
    ],
)
def test_a_shell_sees_one_clear_line_and_exit_code_1(train, overrides, message):
    assert message in error_of(train(*overrides, small=False))


@pytest.mark.parametrize("many", [[], ["-m"], ["-m", "study=drift"]])
def test_a_folder_that_cannot_be_is_one_clear_line(train_here, tmp_path, many):
    (tmp_path / "runs").touch()
    assert f"{tmp_path}/runs" in error_of(train_here(*many, small=False))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.rnak=3"], "Did you mean: 'rank'?"),
        (["task.max_length=4000"], "task.max_length must be at most model.max_positions=512"),
        (["data=local", "data.root=nowhere"], "nowhere/SST-2/train.tsv is missing"),
        (["hydra.launcher.n_jobs=2", "-m"], "hydra/launcher=joblib, submitit_local and"),
        (["search=lora", "hydra.sweeper.sampler=tpe", "-m"], "chosen by hydra/sweeper/sampler=tpe"),
    ],
)
def test_a_mistake_is_one_clear_line(train_here, overrides, message):
    assert message in error_of(train_here(*overrides, small=False))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["study=drift"], "study=drift is a study of many runs: add -m"),
        (["search=lora"], "search=lora is a sweep of many runs: add -m"),
        (["study=drift", "study.dry_run=true"], "study=drift is a study of many runs: add -m"),
        (["study.dry_run=true"], "study.dry_run=true lists a study, such as study=drift -m; this"),
        (["search=lora", "-m", "study.dry_run=true"], "lists a study (study=drift -m), and no"),
        (["study=drift", "-m", "search=lora"], "search=lora: study=drift searches by itself, for"),
        (["search=lora", "-m", "study=drift", "study.dry_run=true"], "study.phases=[search]; a"),
    ],
)
def test_what_is_asked_of_many_runs_is_not_done_to_one(train_here, tmp_path, overrides, message):
    assert message in error_of(train_here(*overrides))
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=local", "model.path=./nowhere"], "is no model: it has no config.json"),
        (["trainer=gpu"], "trainer.accelerator=gpu needs 1 GPU, this machine has 0"),
        (["data=local", "data.root=tests", "task=pretrain"], "tests/corpus/train.txt is missing"),
        (["data=hub"], "data=hub cannot load nyu-mll/glue"),
    ],
)
def test_what_is_not_here_is_named_before_anything_is_made(
    load, cache, tmp_path, overrides, message
):
    import torch

    from loradrift.runs import open_run
    from loradrift.training import run

    if "trainer=gpu" in overrides and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = load(*overrides, f"cache={cache}", f"runs={tmp_path}")
    with open_run(config) as cell, pytest.raises(UserError, match=re.escape(message)):
        run(config, cell)


def test_a_reader_that_leaves_ends_the_command_in_silence():
    """As in ``python analyze.py … | head``."""
    endless = "import loradrift.cli.entry_point as cli\n"
    endless += "with cli.entry_point():\n    while True: print('x' * 999)"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", endless], text=True, **pipes) as process:
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (1, "")


def test_another_broken_pipe_is_told(capsys):
    with pytest.raises(SystemExit) as end, entry_point():
        raise BrokenPipeError(32, "a worker is gone")
    assert end.value.code == 1
    assert "error: BrokenPipeError: [Errno 32] a worker is gone" in capsys.readouterr().err
