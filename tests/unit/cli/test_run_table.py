"""The closing table: one row per cell but the seed, and every failure with its reason."""

from pathlib import Path

import pytest

from loradrift.cli.job_summary import print_closing_table
from loradrift.runs import Cell, RunRecord, Status, read_record
from loradrift.runs.record import NOT_FINITE


@pytest.fixture
def note(tmp_path):
    def write(seed, accuracy, variant=""):
        place = {"task": "sst2", "method": "lora", "variant": variant, "seed": seed}
        sizes = {"tokens_per_s": 1000.0, "peak_memory_bytes": 2.0**30, "wall_time_s": 10.0}
        record = RunRecord(
            coordinates=place,
            config={"task": {"metric": "accuracy"}},
            status=Status.SUCCESS,
            parameters={"trainable": 1234, "total": 5678},
            metrics={"evaluation/accuracy": accuracy},
            performance={name: size * seed for name, size in sizes.items()},
        )
        folder = tmp_path / f"{variant},{seed}"
        Cell(folder, record).save()
        return {"name": f"seed={seed}", "cell": str(folder), "error": None}

    return write


@pytest.fixture
def printed(capsys):
    """Print the table; gives it as text."""

    def output(*notes):
        print_closing_table(notes)
        return capsys.readouterr().out

    return output


def test_seeds_are_one_row_with_mean_and_deviation(note, printed):
    out = printed(*(note(seed, 0.7 + 0.1 * seed) for seed in (1, 2)))
    [row] = [line for line in out.splitlines() if "lora" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [
        "SST-2", "lora", "1,2", "accuracy 85.00 ± 7.07", "1,234", "1,500", "2.00 GiB", "15.0 s",
    ]  # fmt: skip


def test_what_all_rows_share_is_said_once(note, printed):
    out = printed(note(1, 0.5, "a=1,b=2"), note(1, 0.5, "a=1,b=3"))
    assert out.count("a=1") == 1 and "all with a=1" in out
    assert "lora b=2" in out and "lora b=3" in out


def test_values_are_written_as_they_were_typed(note, printed):
    notes = [note(1, 0.5, f"data.root=data~{n},x") for n in (1, 2)]
    for path, each in zip(("/a/data", "/b/data"), notes, strict=True):
        record = read_record(Path(each["cell"]))
        record.overrides = ["task=sst2", "method.target_modules=[q_proj]", f"data.root={path}"]
        Cell(Path(each["cell"]), record).save()
    out = printed(*notes)
    assert "all with method.target_modules=[q_proj]" in out and "~" not in out
    assert "lora data.root=/a/data " in out and "lora data.root=/b/data " in out


def test_seeds_of_a_chain_are_one_row_though_each_starts_elsewhere(note, printed):
    notes = [note(seed, 0.5, "after=rte,model=tiny") for seed in (1, 2)]
    for seed, each in enumerate(notes, 1):
        record = read_record(Path(each["cell"]))
        record.overrides = ["model=local", f"model.path='runs/rte/lora/seed={seed}'"]
        record.start = {"chain": []}
        Cell(Path(each["cell"]), record).save()
    out = printed(*notes)
    assert "all with after=rte" in out and "1,2" in out and "model.path" not in out


def test_trials_are_shown_by_what_they_were_chosen_by(note, printed):
    trial = note(1, 0.9)
    path = Path(trial["cell"]) / "run.json"
    path.write_text(path.read_text().replace("evaluation/accuracy", "validation/accuracy"))
    assert "validation accuracy 90.00" in printed(trial)


def test_a_cell_computed_twice_is_one_seed(note, printed):
    assert "± " not in printed(note(1, 0.5), note(1, 0.5))


def test_a_damaged_record_takes_no_other_out_of_the_table(note, printed):
    damaged = note(1, 0.5)
    (Path(damaged["cell"]) / "run.json").write_text("{")
    out = printed(damaged | {"error": "damaged"}, note(2, 0.6))
    assert "accuracy 60.00" in out and "failed: damaged (in seed=1)" in out


def test_there_is_no_mean_over_different_rows(note, printed):
    notes = [note(seed, 0.5) for seed in (1, 2)]
    for number, each in enumerate(notes):
        record = read_record(Path(each["cell"]))
        record.fingerprints["evaluation_rows"] = str(number)
        Cell(Path(each["cell"]), record).save()
    out = printed(*notes)
    assert "accuracy of different rows: nan" in out and "50.00" not in out


def test_failures_are_named_with_their_reason_and_an_interrupted_job_is_none(note, printed):
    stopped = {"name": "seed=9", "cell": None, "error": "KeyboardInterrupt"}
    out = printed(note(1, 0.5), stopped)
    assert "interrupted seed=9\n" in out and "failed" not in out
    failed = {"name": "seed=[9]", "cell": None, "error": "the loss became nan at step 3"}
    out = printed(note(1, 0.5), failed)
    assert "failed: the loss became nan at step 3 (in seed=[9])\n1 of 2 jobs failed\n" in out


def test_a_run_that_diverged_is_named_as_that(note, printed):
    ended = note(2, 0.5) | {"error": f"{NOT_FINITE} nan"}
    record = read_record(Path(ended["cell"]))
    record.status, record.error = Status.FAILED, ended["error"]
    Cell(Path(ended["cell"]), record).save()
    out = printed(note(1, 0.5), ended)
    assert f"diverged: {NOT_FINITE} nan" in out and "1 of 2 jobs diverged\n" in out
    assert "failed" not in out


def test_runs_that_collapsed_or_raised_an_alarm_are_counted(note, printed):
    notes = [note(seed, 0.5) for seed in (1, 2, 3, 4)]
    causes = ["repetition", "latent_ignored", "repetition", None]
    for each, cause in zip(notes, causes, strict=True):
        record = read_record(Path(each["cell"]))
        record.collapse = {"alarms": int(cause is not None), "cause": cause}
        record.status = Status.COLLAPSED if cause == "latent_ignored" else Status.SUCCESS
        Cell(Path(each["cell"]), record).save()
    out = printed(*notes)
    [row] = [line for line in out.splitlines() if "lora" in line]
    assert "1,3,4" in row and "\n1 of 4 runs collapsed\n" in out
    causes = "repetition 2, latent_ignored 1"
    assert f"\nalarms of collapse in 3 of 4 runs; first cause: {causes}\n" in out
    assert "collapse" not in printed(notes[3])
