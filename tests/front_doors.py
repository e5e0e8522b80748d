"""A command in this process: what it does and says, without the seconds that its imports take.

What a process of its own is about (signals, kills, a shell's environment, what is imported when)
needs one: ``test_command_line.py`` and ``test_interruptions.py``, among others, start those.
"""

import logging
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from warnings import catch_warnings

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

ROOT = Path(__file__).parents[1]


def run_here(
    script: Path, *typed: str, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """``python script typed...`` in this process; nothing of it is left here but its imports."""
    command = [str(script), *typed]
    with as_it_was():
        sys.argv = command
        os.chdir(cwd)
        os.environ |= env or {}
        return told(command, lambda: runpy.run_path(str(script), run_name="__main__"))


def composed(*overrides: str, **options: bool) -> DictConfig:
    """``conf/train.yaml`` as Hydra composes it, which nothing has judged."""
    with initialize_config_dir(str(ROOT / "conf")):
        return compose("train", list(overrides), **options)


def told(command: list[str], run: Callable[[], object]) -> subprocess.CompletedProcess[str]:
    """What ``run`` prints, and the code that it exits with."""
    said, errors, code = StringIO(), StringIO(), 0
    with redirect_stdout(said), redirect_stderr(errors):
        try:
            run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(command, code, said.getvalue(), errors.getvalue())


def analyze(folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    """Type ``analyze.py`` on the runs below ``folder``."""
    places = [f"analysis.runs={folder}/runs", f"analysis.results={folder}/results"]
    return run_here(ROOT / "analyze.py", *places, *typed)


def analyse(name: str, folder: Path | None = None, **options) -> subprocess.CompletedProcess[str]:
    """The same without the command line."""
    from loradrift.analysis.registry import make_config, run_analysis
    from loradrift.cli.entry_point import entry_point

    def run() -> None:
        with entry_point():
            run_analysis(make_config(name, **places, **options))

    places = {"runs": f"{folder}/runs", "results": f"{folder}/results"} if folder else {}
    return told([name], run)


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Kill a process, as if the power were gone, as soon as it has come so far."""
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.kill()
    process.wait()


def output_of(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that succeeded has printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command that failed has on stderr."""
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("error: ")
    return line


@contextmanager
def as_it_was() -> Iterator[None]:
    """Give back, however the block ends, all that a command sets for its whole process."""
    import torch
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    argv, folder, environment = sys.argv, Path.cwd(), dict(os.environ)
    hydra, composed = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    threads, loggers = torch.get_num_threads(), logging_state()
    try:
        with catch_warnings():
            yield
    finally:
        sys.argv = argv
        os.chdir(folder)
        os.environ.clear()
        os.environ |= environment
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, composed
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        torch.set_num_threads(threads)
        for logger, (level, handled, propagate, disabled) in loggers.items():
            logger.setLevel(level)
            logger.handlers[:] = handled
            logger.propagate, logger.disabled = propagate, disabled


def logging_state() -> dict[logging.Logger, tuple[int, list[logging.Handler], bool, bool]]:
    """Level, handlers, propagation and whether it is off, of every logger."""
    found = [logging.root, *logging.root.manager.loggerDict.values()]
    return {
        each: (each.level, [*each.handlers], each.propagate, each.disabled)
        for each in found
        if isinstance(each, logging.Logger)
    }
