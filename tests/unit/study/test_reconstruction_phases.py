"""study=reconstruction from its first phase to its last, with work that takes a moment."""

import json
import re
from glob import glob
from pathlib import Path

import pytest
from disturbances import begun, instead, kill_at, records
from front_doors import error_of, output_of, run_here
from searching import contents

from loradrift.runs.record import git_state
from loradrift.study.reconstruction import RECONSTRUCTION_PHASES

pytestmark = pytest.mark.end_to_end

APP = Path(__file__).with_name("quick_reconstruction.py")
STUDY = (
    "study=reconstruction", "-m", "hydra/launcher=basic", "seed=1,2", "task.num_latents=16",
    "study.configurations=[none,r8_a16_l12,r32_a32_l16,r8_a16_all]", "study.latents=[4,16,64]",
    "study.samples=300", "study.epochs=1",
)  # fmt: skip
EXPORT = "runs/phase1a_lora_sweep"


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
    assert tuple(re.findall(r"^phase (\w+)", out, re.M)) == RECONSTRUCTION_PHASES
    assert out.startswith(
        "layers: the first 12, 16 of Llama's 32 blocks are, as shares, the first 2, 2 of this "
        "model's 4\nstudy reconstruction: 10 cells, 0 finished already"
    )
    numbers = dict(re.findall(r"^phase (\w+): (\d+) cells, 0 finished already", out, re.M))
    assert numbers == {"sweep": "8", "rate": "2"}
    assert len(records(folder)) == 10 and set(begun(folder).values()) == {1}
    [first, *_, last] = begun(folder)
    assert (first, last) == ("base", "report")
    assert re.search(
        r"rate: cell 10 of 10, last: none \(64 latents\) seed 1, text_f1 65.5 %$", out, re.M
    )


def test_the_earlier_projects_reader_finds_the_best_f1(whole, monkeypatch):
    monkeypatch.chdir(whole[0])
    best = max(json.loads(l)["text_f1"] for f in glob("runs/phase1a_lora_sweep/*/diagnostics.jsonl") for l in open(f))  # fmt: skip  # noqa: E501, E741, SIM115
    assert best == 32 + 16 + 2


def test_the_export_has_a_row_for_each_seed_and_evaluation(whole):
    folder = whole[0] / EXPORT
    assert sorted(path.name for path in folder.iterdir()) == [
        "none", "r32_a32_l16", "r8_a16_all", "r8_a16_l12", "sweep_summary.txt",
    ]  # fmt: skip
    rows = [json.loads(line) for line in (folder / "r8_a16_l12/diagnostics.jsonl").open()]
    assert [(row["seed"], row["step"], row["text_f1"]) for row in rows] == [
        (1, 5, 12.5), (1, 10, 25.0), (2, 5, 13.0), (2, 10, 26.0),
    ]  # fmt: skip
    assert {row["configuration"] for row in rows} == {"r8_a16_l12"}
    assert rows[0]["text_em"] == 6.25 and rows[0]["collapse"]["unique_share"] == 0.9


def test_the_summary_is_of_the_reported_rows_and_says_what_layers_are(whole):
    text = (whole[0] / EXPORT / "sweep_summary.txt").read_text()
    assert re.search(r"^configuration  adapts +runs +steps  F1 +EM +token loss  F1 -", text, re.M)
    # means of 16.5 + {1, 2} and of 24.5 + {1, 2}
    line = r"^none +no block +2 of 2  10 +18.00 +8.75 +2.00 +- +- +0 +18.00$"
    assert re.search(line, text, re.M)
    gain = r"\+9.5 \(7.2 to 11.8\)  at least significant"
    line = rf"^r8_a16_l12 +2 of 4 blocks +2 of 2  10 +26.00 +12.75 +2.00 +{gain}  0 +26.00$"
    assert re.search(line, text, re.M)
    assert re.search(r"^r8_a16_all +all 4 blocks +2 of 2 .* 2.00 +- +- +0 ", text, re.M)
    assert "Best F1 of all validations: 50.00 (r32_a32_l16, seed 2, step 10)." in text
    assert "shares of Llama's 32 blocks" in text and "Not finished" not in text


def test_what_is_done_is_skipped(whole, typed):
    folder, _ = whole
    before, files = begun(folder), contents(folder / EXPORT)
    out = output_of(run_here(APP, *typed, "study.phases=[base,sweep,rate,export]", cwd=folder))
    assert begun(folder) == before and contents(folder / EXPORT) == files
    assert "phase base: no cell is left that would need it" in out
    assert "phase sweep: 8 cells, 8 finished already" in out
    assert "phase rate: 2 cells, 2 finished already" in out
    if not git_state()["dirty"]:
        assert "phase export: done already, of these very runs" in out


def test_a_listing_says_what_is_left_and_for_how_long(whole, typed):
    folder, _ = whole
    before = contents(folder)
    more = ("study.dry_run=true", "seed=1,2,3", "study.latents=[4,8]", "study.rate_seeds=2")
    out = output_of(run_here(APP, *[each for each in typed if "seed" not in each], *more,
                             cwd=folder))  # fmt: skip
    assert contents(folder) == before
    assert re.search(r"sweep\W+none\W+no block\W+3\W+2\W+2 s", out)
    assert re.search(r"r8_a16_l12\W+2 of 4 blocks\W+3\W+2\W+2 s", out)
    assert re.search(r"r8_a16_all\W+all 4 blocks\W+3\W+2\W+2 s", out)
    assert re.search(r"rate\W+none\W+4 latents\W+2\W+1\W+2 s\W+8 latents\W+2\W+0\W+4 s", out)
    for phase in ("base", "report", "export"):
        assert re.search(rf"│ {phase} ", out)
    assert "layers: the first 12, 16 of Llama's 32 blocks are, as shares, the first 2, 2" in out
    assert re.search(r"disk: about [\d.]+ MiB below runs", out)


PLACES = ("base", "method.rank=32", "task.num_latents=64", "report")


@pytest.mark.parametrize("places", [PLACES[1:2], pytest.param(PLACES, marks=pytest.mark.slow)])
def test_a_study_that_is_killed_goes_on_to_the_same_export(whole, typed, tmp_path, places):
    for place in places:
        kill_at(APP, typed, tmp_path, place)
    output_of(run_here(APP, *typed, cwd=tmp_path))
    assert records(tmp_path) == records(whole[0])
    assert contents(tmp_path / EXPORT) == contents(whole[0] / EXPORT)
    again = {name for name, count in begun(tmp_path).items() if count > 1}
    # nothing but what was under way began a second time, and what is looked up in the cache
    assert len(again | {"base"}) == len({*places, "base"})
    assert all(any(each in name for name in again) for each in places)


def test_a_cell_that_fails_ends_the_study_after_its_phase(typed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fail").write_text("method.rank=8")
    done = run_here(APP, *typed, cwd=tmp_path)
    assert done.returncode == 1 and "report" not in begun(tmp_path)
    assert "phase sweep: 4 of 8 cells failed; the phases after it need them" in done.stdout
    # what is there is exported, and what is not is named
    output_of(run_here(APP, *typed, "study.phases=[export]", cwd=tmp_path))
    text = (tmp_path / EXPORT / "sweep_summary.txt").read_text()
    assert re.search(r"^r8_a16_l12 +2 of 4 blocks +0 of 2  - +- +- +- +- +- +0 +-$", text, re.M)
    assert "Not finished: r8_a16_l12 (2 of 4 blocks) seed 1; " in text
    assert not (tmp_path / EXPORT / "r8_a16_l12").exists()


def test_a_run_that_collapsed_is_exported_and_is_in_no_mean(typed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/collapse").write_text("method.rank=32")
    few = ("study.configurations=[none,r32_a32_l16]", "study.phases=[sweep,export]")
    typed = [each for each in typed if "configurations" not in each]
    # of an earlier study with more configurations
    stale = tmp_path / EXPORT / "r4_a8_l8/diagnostics.jsonl"
    stale.parent.mkdir(parents=True)
    stale.write_text('{"text_f1": 99}\n')
    other = stale.with_name("notes.txt")
    other.write_text("mine")
    output_of(run_here(APP, *typed, *few, cwd=tmp_path))
    text = (tmp_path / EXPORT / "sweep_summary.txt").read_text()
    line = r"^r32_a32_l16 +2 of 4 blocks +2 of 2, 2 collapsed  10 +- +- +- +- +- +2 +50.00$"
    assert re.search(line, text, re.M)
    assert len((tmp_path / EXPORT / "r32_a32_l16/diagnostics.jsonl").read_text().splitlines()) == 4
    assert not stale.exists() and other.read_text() == "mine"
    before = begun(tmp_path)
    output_of(run_here(APP, *typed, *few, cwd=tmp_path))
    assert begun(tmp_path) == before  # collapsing is its result


def test_an_export_needs_runs_and_their_evaluations(typed, tmp_path):
    alone = "study.phases=[export]"
    nothing = error_of(run_here(APP, *typed, alone, cwd=tmp_path))
    assert nothing == "error: the sweep has no finished run: there is nothing to export"
    output_of(run_here(APP, *typed, "study.phases=[sweep]", cwd=tmp_path))
    [path, *_] = (tmp_path / "runs/reconstruction").rglob("diagnostics.jsonl")
    rows = path.read_text()
    path.write_text(rows.replace('"text_f1"', '"f1"'))
    error = error_of(run_here(APP, *typed, alone, cwd=tmp_path))
    assert error.endswith("diagnostics.jsonl: the evaluation at step 5 has no text_f1")
    path.unlink()
    error = error_of(run_here(APP, *typed, alone, cwd=tmp_path))
    assert "is missing or empty: the run was not evaluated while it trained" in error
    assert not (tmp_path / EXPORT).exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.samples=0", "study.samples must be positive, got 0"),
        ("study.samples=10000000", r"study.samples must be at most \d+ \(the train split without"),
        ("study.configurations=[none,r9_a9_l9]", "study.configurations must be some of none, r4"),
        ("method=dora", "study=reconstruction sets method itself, .*: type study.configurations="),
        ("method.optim.head_lr=1e-3", "method.optim.head_lr would be the LoRA runs' alone; type"),
        ("study.latents=[4,600]", r"none \(600 latents\) seed 1: task.num_latents must be at mos"),
        ("task.d_z=200", "none .* seed 1: task.d_z must be at most 128, the width of the embeddin"),
        ("task.encoder_run=there", "task.encoder_run must be left out with study.latents, whose r"),
        ("task.adapt=encoder", "method.layers has no effect on task.adapt=encoder, whose linear l"),
        ("callbacks.collapse.enabled=false", "callbacks.collapse.enabled must be true with study"),
    ],
)
def test_what_no_study_could_do_is_refused_before_it_starts(typed, tmp_path, override, message):
    error = error_of(run_here(APP, *instead(typed, override), cwd=tmp_path))
    assert re.search(message, error), error
    assert not (tmp_path / "runs/reconstruction").exists()
