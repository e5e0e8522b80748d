"""An entry is made once, by one of several processes, and again if it is damaged."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loradrift.caching import cached, entry, file_digest, folder_with, recall
from loradrift.files import read_json, write_json


def test_an_entry_is_made_once(tmp_path):
    made = []

    def make(path):
        made.append(path)
        write_json(path, len(made))

    path = tmp_path / "folder" / "a.json"
    assert [cached(path, make, read_json) for _ in range(3)] == [1, 1, 1]
    assert len(made) == 1 and made[0] != path


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_entry_is_made_again_with_a_warning(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)

    def read(path):
        return read_json(path)["value"] if text != "[]" else read_json(path)[0]

    with pytest.warns(UserWarning, match=r"a\.json is damaged \(.*\): it is made again"):
        assert recall(path, read) is None
    value = {"value": 3} if text != "[]" else [3]
    with pytest.warns(UserWarning, match="is damaged"):
        assert cached(path, lambda new: write_json(new, value), read) == 3
    assert cached(path, lambda _: pytest.fail("made again"), read) == 3


def test_a_file_that_is_put_back_with_its_size_and_time_has_another_digest(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("then")
    then, stat = file_digest(path, tmp_path), path.stat()
    assert file_digest(path, tmp_path) == then
    path.write_text("than")
    while path.stat().st_ctime_ns == stat.st_ctime_ns:  # the system's clock ticks
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as `cp -p` does
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert file_digest(path, tmp_path) == hashlib.sha256(b"than").hexdigest() != then


def test_a_failure_while_making_leaves_nothing(tmp_path):
    def fail(path):
        path.mkdir()
        (path / "half").write_text("1")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        cached(tmp_path / "a", fail, lambda path: path.stat())
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]


def test_a_folder_without_its_last_file_is_made_again(tmp_path):
    def make(path):
        path.mkdir()
        (path / "whole").write_text("1")

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("0")
    assert cached(tmp_path / "a", make, folder_with("whole")) == tmp_path / "a"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["whole"]


def test_the_key_names_the_entry():
    names = {entry(Path("a"), key) for key in ("x", "y", {"x": 1}, {"x": 2}, [1, 2])}
    assert len(names) == 5
    assert entry(Path("a"), {"x": 1, "y": 2}, ".b") == entry(Path("a"), {"y": 2, "x": 1}, ".b")


SCRIPT = """
import sys, time
from pathlib import Path
from loradrift.caching import cached

def make(path):
    with Path(sys.argv[2]).open("a") as log:
        log.write("making\\n")
    time.sleep(float(sys.argv[3]))
    path.write_text("made")

print(cached(Path(sys.argv[1]), make, Path.read_text))
"""


def test_others_wait_for_the_first_and_a_killed_one_frees_the_entry(tmp_path):
    def start(seconds):
        command = [sys.executable, "-c", SCRIPT, tmp_path / "a", log, str(seconds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    log = tmp_path / "log"
    first = start(60)
    while not log.exists() or "\n" not in log.read_text():
        time.sleep(0.01)
    others = [start(0.3) for _ in range(3)]
    os.kill(first.pid, signal.SIGKILL)
    assert [process.communicate()[0] for process in others] == ["made\n"] * 3
    first.communicate()
    assert log.read_text() == "making\n" * 2
