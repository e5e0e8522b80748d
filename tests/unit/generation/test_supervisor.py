"""Whatever ends a program, a command or its supervisor, no process of the command is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loradrift.generation.supervisor import supervised

TREE = """
import os, subprocess, sys, time
away = "import os, subprocess, sys; os.setsid(); subprocess.run(['sleep', sys.argv[1]])"
subprocess.Popen(["sleep", sys.argv[1]])
subprocess.Popen([sys.executable, "-c", away, sys.argv[1]])
{deaf}
print("started", flush=True)
time.sleep(600)
"""
"""A command with a child, and one more in a session of its own that has a child too."""

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture
def mark() -> str:
    """Seconds that nobody else sleeps: how the processes of a test are known."""
    return f"600.{os.getpid()}{time.monotonic_ns() % 10**6:06}"


def marked(mark: str) -> list[int]:
    """The processes, defunct ones apart, with this argument."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come in time"
        time.sleep(0.02)


def tree(mark: str, deaf: str = "") -> list[str]:
    return [sys.executable, "-c", TREE.format(deaf=deaf), mark]


def started(mark: str) -> bool:
    """The command, its child, the one that has left its group, and the child of that."""
    return len([pid for pid in marked(mark) if not is_supervisor(pid)]) == 4


def is_supervisor(pid: int) -> bool:
    return b"supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_command_runs_and_its_exit_code_and_words_are_known(tmp_path):
    script = "import os, sys; print('words', os.environ['WORD']); sys.exit(7)"
    command = [sys.executable, "-c", script]
    (tmp_path / "log").write_text("before\n")
    with supervised(command, env={"WORD": "given"}, log=tmp_path / "log") as process:
        assert process.wait(20) == process.returncode == process.poll() == 7
    assert process.printed() == "words given\n"
    assert (tmp_path / "log").read_text() == "before\nwords given\n"


def test_the_end_of_the_block_ends_all_processes(tmp_path, mark):
    with supervised(tree(mark), log=tmp_path / "log") as process:
        wait_for(lambda: started(mark))
        assert process.pid in marked(mark)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
    assert process.returncode == -signal.SIGTERM
    assert not marked(mark)


def test_an_error_in_the_block_ends_all_processes(tmp_path, mark):
    with pytest.raises(KeyError), supervised(tree(mark), log=tmp_path / "log"):
        wait_for(lambda: started(mark))
        raise KeyError
    assert not marked(mark)


def test_a_command_that_ignores_the_request_to_stop_is_killed(tmp_path, mark, monkeypatch):
    supervisor = sys.modules[supervised.__module__]
    quick = tmp_path / "supervisor.py"
    code = Path(supervisor.__file__).read_text()
    quick.write_text(code.replace("GRACE_S = 5.0", "GRACE_S = 0.5"))
    monkeypatch.setattr(supervisor, "__file__", str(quick))
    with supervised(tree(mark, DEAF), log=tmp_path / "log") as process:
        wait_for(lambda: "started" in process.log.read_text())
    assert process.returncode == -signal.SIGKILL
    assert not marked(mark)


def test_a_command_that_is_killed_leaves_nothing_behind(tmp_path, mark):
    with supervised(tree(mark), log=tmp_path / "log") as process:
        wait_for(lambda: started(mark))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
        assert not marked(mark)


def test_a_supervisor_that_is_killed_is_noticed(tmp_path, mark):
    alone = [sys.executable, "-c", "import time; time.sleep(600)", mark]
    with supervised(alone, log=tmp_path / "log") as process:
        [supervisor] = [pid for pid in marked(mark) if is_supervisor(pid)]
        os.kill(supervisor, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    wait_for(lambda: not marked(mark))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_dies_leaves_nothing_behind(tmp_path, mark, number):
    # what a shell's script starts in the background ignores SIGINT, and so would its children
    program = f"""
import signal, time
from pathlib import Path
from loradrift.generation.supervisor import supervised
signal.signal(signal.SIGINT, signal.default_int_handler)
with supervised({tree(mark)!r}, log=Path({str(tmp_path / "log")!r})):
    time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    wait_for(lambda: started(mark))
    parent.send_signal(number)
    parent.wait(20)
    wait_for(lambda: not marked(mark))


def test_a_program_that_dies_takes_supervisors_below_supervisors_with_it(tmp_path, mark):
    def program(command: list[str]) -> str:
        return f"""
import time
from pathlib import Path
from loradrift.generation.supervisor import supervised
with supervised({command!r}, log=Path({str(tmp_path / "log")!r})):
    time.sleep(600)
"""

    worker = [sys.executable, "-c", program(tree(mark))]
    parent = subprocess.Popen([sys.executable, "-c", program(worker)])
    wait_for(lambda: started(mark))
    parent.kill()
    parent.wait(20)
    wait_for(lambda: not marked(mark))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_supervisor_that_is_asked_to_stop_ends_all(mark, number):
    command = [sys.executable, "-m", "loradrift.generation.supervisor", *tree(mark)]
    supervisor = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with supervisor:
        wait_for(lambda: started(mark))
        supervisor.send_signal(number)
        assert supervisor.wait(20) == 128 + signal.SIGTERM  # which is how the command ended
    assert not marked(mark)


def test_a_command_that_cannot_be_started_is_named(tmp_path):
    with (
        pytest.raises(ChildProcessError, match="no-such-command cannot be started: No such file"),
        supervised(["no-such-command"], log=tmp_path / "log"),
    ):
        pass
