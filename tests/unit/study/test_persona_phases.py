"""study=persona from its first phase to its last, with work that takes a moment."""

import re
import shutil
from pathlib import Path

import pytest
from disturbances import begun, kill_at, records
from front_doors import run_here
from searching import contents

from loradrift.study.persona import PERSONA_PHASES

pytestmark = pytest.mark.end_to_end

APP = Path(__file__).with_name("quick_persona.py")
STUDY = (
    "study=persona", "-m", "hydra/launcher=basic", "task.trait=cheerful,cautious", "seed=1",
    "method=rslora", "study.shares=[0.5]",
    "study.doses={prompt:[],activation:[],weight:[0.25],weight_positive:[],bias_only:[],"
    "random_weight:[],random_activation:[]}",
)  # fmt: skip
NUMBERS = {"sides": 4, "finetunings": 4, "steering": 4 + 2, "behaviour": 4 + 4 + 2, "cost": 1}


@pytest.fixture(scope="module")
def typed(cache):
    return (*STUDY, f"cache={cache}")


@pytest.fixture(scope="module")
def whole(typed, tmp_path_factory):
    """A study that nothing has disturbed, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    done = run_here(APP, *typed, cwd=folder)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return folder, done.stdout


def test_the_phases_run_in_order(whole):
    folder, out = whole
    assert tuple(re.findall(r"^phase (\w+)", out, re.M)) == PERSONA_PHASES
    found = dict(re.findall(r"^phase (\w+): (\d+) cells, 0 finished already", out, re.M))
    assert {phase: int(number) for phase, number in found.items()} == NUMBERS
    assert out.startswith(f"study persona: {sum(NUMBERS.values())} cells, 0 finished already")
    assert len(records(folder)) == sum(NUMBERS.values())
    assert set(begun(folder).values()) == {1}
    assert re.search(r"^cost: cell 25 of 25, last: cost of a token, cheerful, done$", out, re.M)
    assert (folder / "results/persona/report.html").is_file()


def test_what_is_done_is_skipped(whole, typed):
    folder, _ = whole
    before = begun(folder)
    out = run_here(APP, *typed, "study.phases=[sides,finetunings,steering,cost]", cwd=folder).stdout
    assert begun(folder) == before
    assert re.findall(r"(\d+) cells, (\d+) finished already", out)[1:] == [
        (str(NUMBERS[phase]),) * 2 for phase in ("sides", "finetunings", "steering", "cost")
    ]


def test_a_listing_says_what_is_left_and_for_how_long(whole, typed):
    folder, _ = whole
    before = contents(folder)
    more = ("study.dry_run=true", "study.shares=[0.5,1]", "study.questions=3")
    out = run_here(APP, *typed, *more, cwd=folder).stdout
    assert contents(folder) == before
    assert re.search(r"sides\W+cheerful\W+rslora\W+2\W+2\W+0 s", out)
    assert re.search(r"finetunings\W+cheerful\W+rslora\W+2\W+1\W+2 s", out)
    assert re.search(r"rslora, direction merged\W+1\W+1\W+0 s", out)
    assert re.search(r"steering\W+cheerful\W+none\W+1\W+0\W+unknown\W+weight\W+", out)
    assert re.search(r"cost\W+cheerful\W+cost\W+1\W+1\W+0 s", out)
    for phase in ("directions", "judging", "report"):
        assert re.search(rf"│ {phase} ", out)
    assert re.search(r"time left: 4 s, and unknown for steering, behaviour", out)
    assert re.search(r"disk: about [\d.]+ MiB below runs", out)


def copy_until(place, whole, folder):
    """The study as it stood when ``place`` was about to begin."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    runs = folder / "runs"
    lines = (runs / "begun.log").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if place in line)
    (runs / "begun.log").write_text("".join(f"{line}\n" for line in lines[:first]))
    for line in lines[first:]:
        if "/" in line:
            shutil.rmtree(runs / line)
    for judged in [*runs.rglob("judged")]:
        shutil.rmtree(judged)
    if "directions" in lines[first:]:
        shutil.rmtree(folder / "results")
    for report in folder.glob("results/persona/*.*"):
        report.unlink()


PLACES = ("task.side=neg,task.trait=cautious", "directions", "direction_coefficient", "also=",
          "steering.run=", "steering_cost", "judging", "report")  # fmt: skip


@pytest.mark.parametrize("places", [PLACES[3:4], pytest.param(PLACES, marks=pytest.mark.slow)])
def test_a_study_that_is_killed_goes_on(whole, typed, tmp_path, places):
    copy_until(places[0], whole[0], tmp_path)
    for place in places:
        kill_at(APP, typed, tmp_path, place)
    done = run_here(APP, *typed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert records(tmp_path) == records(whole[0])
    assert begun(tmp_path).keys() == begun(whole[0]).keys()
    again = {name: count for name, count in begun(tmp_path).items() if count > 1}
    cells = {name: count for name, count in again.items() if "/" in name}
    # nothing but what was under way began a second time
    assert sorted(cells.values()) == [2] * sum("/" in name for name in cells)
    assert len(cells) == len({*places} - {"directions", "judging", "report"})
    assert all(any(place in name for name in again) for place in places)


def test_a_cell_that_fails_ends_the_study_after_its_phase(typed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fail").write_text("arm=weight")
    done = run_here(
        APP, *typed, "study.prevented=[]", "study.phases=[sides,steering]", cwd=tmp_path
    )
    assert done.returncode == 1
    failed = "phase steering: 4 of 6 cells failed; the phases after it need them, and wait"
    assert failed in done.stdout
    assert done.stderr.count("error: no such luck (in ") == 4


def test_a_study_that_asks_no_fine_tuned_run_says_nothing_of_projections(typed, tmp_path):
    one = [each for each in typed if not each.startswith("task.trait")]
    phases = "study.phases=[sides,directions,steering,judging,report]"
    done = run_here(APP, *one, "task.trait=cheerful", phases, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/persona/report.html").is_file()
    assert not list((tmp_path / "results/persona").glob("persona_projection*"))
