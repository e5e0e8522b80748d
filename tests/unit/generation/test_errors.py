"""Errors of libraries as one line, and their chatter kept from the terminal."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from loradrift.config import UserError
from loradrift.generation import Sampling, server_log
from loradrift.generation.errors import one_line_errors

PYDANTIC = """1 validation error for VllmConfig
  Value error, head_size must be divisible by 32 [type=value_error, input_value=1, input_type=int]
    For further information visit https://errors.pydantic.dev/2.11/v/value_error"""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError(PYDANTIC), UserError, "vLLM: head_size must be divisible by 32"),
        (RuntimeError("\n\nfirst\nsecond"), UserError, "vLLM: first"),
        (KeyError(), UserError, "vLLM: KeyError"),
        (MemoryError(), MemoryError, "vLLM: MemoryError"),
        (RuntimeError("CUDA out of memory. Tried 2"), MemoryError, "vLLM: CUDA out of memory.*"),
        (OSError(12, "Cannot allocate memory"), MemoryError, "vLLM: .*Cannot allocate memory"),
        (UserError("as it is"), UserError, "as it is"),
    ],
)
def test_a_line_says_what_is_wrong(error, kind, message):
    with pytest.raises(kind, match=f"^{message}$"), one_line_errors("vLLM"):
        raise error


def test_a_long_line_is_cut():
    with pytest.raises(UserError) as caught, one_line_errors("vLLM"):
        raise ValueError("x" * 5000)
    assert len(str(caught.value)) < 500


def test_an_interrupt_stays_one():
    with pytest.raises(KeyboardInterrupt), one_line_errors("vLLM"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_tokens": 0}, "max_tokens must be positive, got 0"),
        ({"temperature": -0.5}, "temperature must be 0 or more, got -0.5"),
    ],
)
def test_sampling_is_judged(values, message):
    with pytest.raises(UserError, match=message):
        Sampling(**values)


SCRIPT = """
import os, sys
from loradrift.generation.vllm_library import quiet
print("before")
with quiet():
    print("lost"); os.system("echo lost too"); print("lost", file=sys.stderr)
print("between")
try:
    with quiet():
        os.write(2, b"the reason\\n")
        raise ValueError("wrong")
except ValueError as error:
    print("kept" if "the reason" in error.__notes__[0] else "no reason", file=sys.stderr)
"""


def test_chatter_of_c_code_too_stays_away():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nbetween\n", "kept\n")


@pytest.mark.parametrize(
    ("printed", "log", "ends"),
    [
        ("", "/cell/server.log", "it failed; its log /cell/server.log is empty"),
        (" \n\n", None, "it failed; its log is empty"),
        ("  indented alone\n", "/x", "it failed; its log /x holds no message"),
        ("Loading\nValueError: no", "/x", "it failed; its log /x ends: Loading | ValueError: no"),
    ],
)
def test_a_server_s_failure_says_where_its_log_lies_and_how_it_ends(printed, log, ends):
    process = SimpleNamespace(printed=lambda: printed)
    error = server_log.failure("it failed", process, log and Path(log))
    assert (type(error), str(error)) == (UserError, ends)


GONE = "(APIServer pid=7) WARNING 11-30 00:44:09 [core_client.py:817] [shutdown] MPClient: engine "
GONE += "core exited unexpectedly; starting cleanup\n"
DEAD = "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."
ABOVE = " See stack trace (above) for the root cause.\n"


def test_an_engine_that_was_killed_below_its_server_is_told_from_one_that_failed():
    last = server_log.last_lines(f"Started\n{GONE}{DEAD}{ABOVE}INFO:     Shutting down\n")
    assert last == f"{server_log.KILLED} | … | {DEAD}"
    last = server_log.last_lines(f"{GONE}RuntimeError: no device\n{DEAD}{ABOVE}")
    assert last == f"RuntimeError: no device | {DEAD}"
    assert server_log.last_lines(f"Started\n{DEAD}{ABOVE}") == f"Started | {DEAD}"
