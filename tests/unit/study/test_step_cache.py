"""An analysis is done while what it read, what it wrote and the code are the same."""

import pytest

from loradrift.study import step_cache
from loradrift.study.step_cache import Step


@pytest.fixture
def step(tmp_path, monkeypatch):
    monkeypatch.setattr(step_cache, "git_state", lambda: {"commit": "abc", "dirty": False})
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "tables").mkdir()
    step = Step(tmp_path / "stamp.json", [tmp_path / "run.json"], [tmp_path / "tables"])
    assert not step.done
    step.run(lambda: (tmp_path / "tables/a.csv").write_text("1"))
    return step


def test_it_is_done_and_knows_how_long_it_took(step):
    assert step.done
    assert step.remembered["seconds"] >= 0


@pytest.mark.parametrize("file", ["run.json", "tables/a.csv", "tables/b.csv", "stamp.json"])
def test_another_file_undoes_it(step, tmp_path, file):
    (tmp_path / file).write_text("other")
    assert not step.done


@pytest.mark.parametrize(
    "state", [{"commit": "def", "dirty": False}, {"commit": "abc", "dirty": 1}]
)
def test_other_code_undoes_it(step, monkeypatch, state):
    monkeypatch.setattr(step_cache, "git_state", lambda: state)
    assert not step.done


def test_what_a_killed_process_left_half_written_goes(step, tmp_path):
    for folder in (tmp_path, tmp_path / "tables"):
        (folder / ".a.csv.0123.tmp").write_text("half")
    step.run(lambda: None)
    assert not list(tmp_path.rglob("*.tmp"))
