"""Processes forked from one that has torch loaded: each saves the seconds of its imports.

One server serves all of pytest's workers. It imports at the first request, and ends with pytest.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path

ADDRESS = "LORADRIFT_FORK_SERVER"
PRELOADED = (
    *("transformers.models.llama.modeling_llama", "peft", "optuna", "pandas"),
    *(f"loradrift.{name}" for name in ("training", "callbacks", "tasks", "sweeping", "study")),
)


class ForkedProcess:
    """What ``subprocess.Popen([python, script, *typed])`` gives, as far as tests need it."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str] | None = None) -> None:
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(os.environ[ADDRESS])
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        request = {"argv": command[1:], "cwd": str(cwd), "env": os.environ | (env or {})}
        socket.send_fds(self._connection, [b"."], [its_out, its_err])
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        for each in (its_out, its_err):
            os.close(each)
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.returncode = int(self._answers.readline())
        return self.returncode

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        with ThreadPoolExecutor(2) as pool:
            said = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return said[0].result(), said[1].result()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(address: Path) -> subprocess.Popen[bytes]:
    """Start the server; it ends when its stdin is closed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        os.environ[ADDRESS] = str(address)
        command = [sys.executable, __file__, str(listener.fileno())]
        return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])


def serve(listener: socket.socket) -> None:
    """Fork a process for each connection, until stdin ends."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        for name in PRELOADED:
            import_module(name)
        gc.freeze()
        if os.fork() == 0:  # one process waits for each child, which is its own
            keep(connection)
            os._exit(0)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # those that have ended leave no zombies
                pass


def keep(connection: socket.socket) -> None:
    """Fork what is asked for; answer its process id and, once it has ended, its exit code."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 2)
    with connection.makefile("rw") as file:
        request = json.loads(file.readline())
        child = os.fork()
        if child == 0:
            connection.close()
            run(request, streams)
        for stream in streams:
            os.close(stream)
        file.write(f"{child}\n")
        file.flush()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.write(f"{status}\n")


def run(request: dict, streams: list[int]) -> None:
    """Become ``python script typed...``, whose exit code is this process's."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ |= request["env"]
    sys.argv = request["argv"]
    sys.path[:0] = [
        str(Path(sys.argv[0]).absolute().parent),
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
