"""study=frontier from its first phase to its last, with work that takes a moment."""

import json
import re
from pathlib import Path

import pytest
from disturbances import begun, instead, kill_at, records
from front_doors import error_of, output_of, run_here
from searching import contents

from loradrift.runs.record import git_state
from loradrift.study.frontier import FRONTIER_PHASES

pytestmark = pytest.mark.end_to_end

APP = Path(__file__).with_name("quick_frontier.py")
STUDY = (
    "study=frontier", "-m", "hydra/launcher=basic", "seed=1,2", "study.factors=[1,10]",
    "study.configurations=[lora_r8,lora_r64,head_only]",
)  # fmt: skip


@pytest.fixture(scope="module")
def typed(cache):
    return (*STUDY, f"cache={cache}")


@pytest.fixture(scope="module")
def whole(typed, tmp_path_factory):
    """A study whose rank 64 diverges at ten times its rate, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "runs").mkdir()
    (folder / "runs/diverge").write_text("method.optim.lr=0.02,method.rank=64")
    done = run_here(APP, *typed, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_phases_run_in_order_and_a_rate_that_diverges_ends_nothing(whole):
    folder, out = whole
    assert tuple(re.findall(r"^phase (\w+)", out, re.M)) == FRONTIER_PHASES
    assert "study frontier: 12 cells, 0 finished already" in out
    assert len(records(folder)) == 12 and set(begun(folder).values()) == {1}
    [first, *_, last] = begun(folder)
    assert (first, last) == ("base", "report")
    found = [json.loads((folder / name).read_text()) for name in records(folder)]
    failed = [each for each in found if each["status"] == "failed"]
    assert len(failed) == 2
    assert {each["config"]["method"]["rank"] for each in failed} == {64}
    assert json.loads((folder / "results/frontier/frontier.json").read_text()) == {
        "baseline": "lora_r8"
    }


def test_what_is_done_or_has_diverged_is_skipped(whole, typed):
    folder, _ = whole
    before = begun(folder)
    out = output_of(run_here(APP, *typed, "study.phases=[base,sweep]", cwd=folder))
    assert begun(folder) == before
    assert "phase base: no cell is left that would need it" in out
    assert "phase sweep: 12 cells, 12 finished already" in out
    if not git_state()["dirty"]:
        assert "phase report: done already" in output_of(run_here(APP, *typed, cwd=folder))


def test_a_listing_says_what_is_left_and_for_how_long(whole, typed):
    folder, _ = whole
    before = contents(folder)
    more = [each for each in typed if not each.startswith("study.factors")]
    more += ["study.dry_run=true", "study.factors=[1,10,100]"]
    out = output_of(run_here(APP, *more, cwd=folder))
    assert contents(folder) == before
    assert re.search(r"sweep\W+sst2\W+lora_r8 x 1\W+2\W+2\W+0 s", out)
    assert re.search(r"lora_r64 x 10\W+2\W+2\W+0 s", out)  # diverged: that is its result
    # other rates take as long
    assert re.search(r"lora_r8 x 100\W+2\W+0\W+4 s", out)
    assert re.search(r"disk: about [\d.]+ MiB below runs", out)


def test_a_study_that_is_killed_goes_on(whole, typed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/diverge").write_text("method.optim.lr=0.02,method.rank=64")
    kill_at(APP, typed, tmp_path, "head_only")
    output_of(run_here(APP, *typed, cwd=tmp_path))
    assert records(tmp_path) == records(whole[0])
    again = {name for name, count in begun(tmp_path).items() if count > 1}
    assert len(again - {"base"}) == 1 and all("head_only" in name for name in again - {"base"})


def test_another_failure_ends_the_study_after_its_phase(typed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fail").write_text("method.rank=64")
    done = run_here(APP, *typed, cwd=tmp_path)
    assert done.returncode == 1 and "report" not in begun(tmp_path)
    assert "phase sweep: 4 of 12 cells failed; the phases after it need them" in done.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.factors=[3]", r"study.factors must be at least two: one rate is a point and no cu"),
        ("study.configurations=[lora_r8,full]", "study.configurations must be some of full_finet"),
        ("task=sst", "sst"),
        ("callbacks.activation_dump.enabled=false", "must be true with study=frontier, whose rep"),
    ],
)
def test_what_no_study_could_do_is_refused_before_it_starts(typed, tmp_path, override, message):
    error = error_of(run_here(APP, *instead(typed, override), cwd=tmp_path))
    assert re.search(message, error), error
    assert not (tmp_path / "runs/frontier").exists()
