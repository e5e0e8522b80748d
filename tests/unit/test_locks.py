"""A lock is freed by the end of its process, is never a soft one, and keeps threads apart too."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import filelock
import pytest

from loradrift.locks import locked

HOLD = """
import os, sys, time
from pathlib import Path
from loradrift.locks import locked
with locked(Path(sys.argv[1])):
    begun, begin = os.pipe()
    if os.fork() == 0:  # as a data loader's worker, which outlives a parent that is killed
        os.write(begin, b".")
        time.sleep(60)
    os.read(begun, 1)  # what a process does first after a fork is done
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_holds_nothing_even_if_a_child_of_it_lives(tmp_path):
    path = tmp_path / "made/.lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert holder.stdout.readline() == "held\n"
        busy = []
        with pytest.raises(KeyError), locked(path, lambda: busy.append(1) or {}["not waited"]):
            pass
        assert busy == [1]
        holder.kill()
        holder.wait()
        with locked(path, lambda: pytest.fail("it is still held")):
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_waiter_gets_it_when_it_is_left_and_the_file_stays_empty(tmp_path):
    path, order = tmp_path / ".lock", []

    def wait():
        with locked(path, lambda: order.append("waits")):
            order.append("in")

    with locked(path):
        thread = threading.Thread(target=wait)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("left")
    thread.join()
    assert order == ["waits", "left", "in"]
    assert path.read_bytes() == b""


def test_it_keeps_out_who_locks_the_file_by_other_means(tmp_path):
    path = tmp_path / ".lock"
    with path.open("a") as file, locked(path), pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_no_soft_lock_is_taken(
    tmp_path, monkeypatch, number
):
    def missing(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", missing)
    message = rf"a file system with file locks, .*\({os.strerror(number)}\): '.*/\.lock'"
    with pytest.raises(OSError, match=message), locked(tmp_path / ".lock"):
        pass


def test_a_platform_without_locks_is_an_error_and_no_soft_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(filelock, "FileLock", filelock.SoftFileLock)
    with pytest.raises(OSError, match="this platform has no file locks"), locked(tmp_path / "x"):
        pass
    assert not list(tmp_path.iterdir())
