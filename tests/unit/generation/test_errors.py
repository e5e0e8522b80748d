"""Errors of libraries as one line, and their chatter kept from the terminal."""

import os
import subprocess
import sys

import pytest

from loradrift.config import UserError
from loradrift.generation import Sampling
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
