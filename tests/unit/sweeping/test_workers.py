"""A process that runs a trial is known by more than its number."""

import os
import subprocess
import sys

from loradrift.sweeping.recovery import is_gone


def test_a_process_that_nobody_has_asked_how_it_ended_is_gone():
    code = "from loradrift.sweeping.recovery import worker; print(worker(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    named = process.stdout.readline().strip()
    assert not is_gone(named)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert is_gone(named)
    process.communicate()
    assert is_gone(named)
