"""The command line of benchmark.py: mistakes in one line, and what a sweep reports at its end."""

import warnings

import pytest
from conftest import ROOT
from front_doors import error_of, output_of, run_here

from loradrift.caching import cached
from loradrift.cli import benchmark_job
from loradrift.cli.entry_point import entry_point
from loradrift.config import UserError
from loradrift.files import read_json

INTEGERS = "serving.adapters must be a list of integers, as 1,2,4"


def benchmark(folder, *typed):
    return run_here(ROOT / "benchmark.py", f"runs={folder}/runs", *typed)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["variant=a"], "variant must be left out: it follows from what else is typed, got a"),
        (["model=local"], "model=local needs model.path=<folder or hub name of a model>"),
        (["serving.adapters=two"], f"{INTEGERS}, got two"),
        (["serving.adapters=1,x"], f"{INTEGERS}, got 1,x"),
        (["serving.server.rates=fast"], "serving.server.rates must be a list of numbers, as 1,2,4"),
        (["serving.rounds=two"], "serving.rounds must be an integer, got two"),
        (["judge=oracle"], "judge is a key of benchmark=judging, steering, not of benchmark=s"),
        (
            ["benchmark=export", "run=x", "serving.adapters=2"],
            "serving.adapters is a key of benchmark=serving, not of benchmark=export",
        ),
        (["benchmark=export", "run=x", "engine=hf"], "engine has no effect with benchmark=export"),
        (["benchmark=export", "run=x", "force=true"], "force has no effect with benchmark=export"),
        (["benchmark=judging", "scale.epochs=1"], "scale.epochs has no effect with benchmark="),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_in_the_words_that_were_typed(tmp_path, typed, message):
    assert message in error_of(benchmark(tmp_path, *typed))


def test_a_warning_of_this_project_is_one_line(capsys, tmp_path):
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{")
    with entry_point(), warnings.catch_warnings():
        warnings.showwarning = lambda *args: print(warnings.formatwarning(*args[:4]), end="")
        warnings.simplefilter("always")
        assert cached(damaged, lambda path: path.write_text("{}"), read_json) == {}
        warnings.warn("elsewhere", stacklevel=1)
    line, *others = capsys.readouterr().out.splitlines()
    assert line.startswith(f"warning: {damaged} is damaged (") and line.endswith("it is made again")
    assert __file__ in others[0]  # of other code the place is told


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """Run cells that measure nothing; gives what was printed, and the cells of each report."""

    def call(seeds, *, failing=(), silent=()):
        reports = []

        def run(config, overrides):
            if config.seed in failing:
                raise UserError("it failed")

        def report(config, cells):
            if any(cell.name.endswith(tuple(f"={seed}" for seed in silent)) for cell in cells):
                raise UserError("holds no samples")
            reports.append([cell.name for cell in cells])

        monkeypatch.setattr("loradrift.serving.bench.run", run)
        monkeypatch.setattr(benchmark_job, "report", report)
        return benchmark(tmp_path, "engine=hf", "-m", f"seed={seeds}"), reports

    return call


def test_a_sweep_reports_the_cells_of_its_own_command(sweep):
    done, reports = sweep("3,1,3,2", failing=[1])
    assert reports == [["tiny,seed=3", "tiny,seed=2"]]
    assert "1 of 4 cells failed" in done.stdout and done.returncode == 1
    done, reports = sweep("4,5")
    assert reports == [["tiny,seed=4", "tiny,seed=5"]]
    output_of(done)


def test_where_all_cells_failed_the_last_one_that_measured_something_is_reported(sweep):
    assert sweep("1,2,3", failing=[1, 2, 3], silent=[3])[1] == [["tiny,seed=2"]]
    assert sweep("1,2", failing=[1, 2], silent=[1, 2])[1] == []
    assert sweep("-1,-2")[1] == []  # no cell has a name, and an older one is not theirs
