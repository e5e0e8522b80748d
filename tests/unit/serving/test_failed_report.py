"""A benchmark that fails after it has begun makes its report, which says so."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from loradrift.cli import benchmark_job
from loradrift.config import UserError


@pytest.fixture
def reports(monkeypatch) -> list:
    made: list = []
    monkeypatch.setattr(benchmark_job, "report", lambda config, cells: made.append(cells))
    return made


def fail(cell: Path, text: str | None) -> None:
    with benchmark_job.report_of_failure(SimpleNamespace(cell=cell)):
        if text is not None:
            cell.mkdir(exist_ok=True)
            (cell / "run.json").write_text(text)
        raise UserError("a wrong answer")


def test_a_cell_that_has_failed_is_reported_and_a_mistake_before_is_not(tmp_path, reports):
    cell = tmp_path / "cell"
    with pytest.raises(UserError, match="a wrong answer"):
        fail(cell, None)
    assert reports == []
    for text in ("running", "failed"):
        with pytest.raises(UserError, match="a wrong answer"):
            fail(cell, text)
    assert reports == [[cell], [cell]]
    with pytest.raises(UserError, match="a wrong answer"):
        fail(cell, None)
    assert len(reports) == 2


def test_a_failure_with_nothing_to_report_is_the_failure_itself(tmp_path, monkeypatch):
    def nothing(config, cells):
        raise UserError("holds no samples")

    monkeypatch.setattr(benchmark_job, "report", nothing)
    with pytest.raises(UserError, match="a wrong answer"):
        fail(tmp_path / "cell", "failed")
