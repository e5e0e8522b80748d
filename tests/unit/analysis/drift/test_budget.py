"""Runs that saw unequal many rows are compared where they had seen as many, or not at all."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted import write_run

from loradrift.analysis.drift.hypothesis_data import decide_tables
from loradrift.analysis.drift.layers import layer_grid, mean_drift_replicates
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.tables import analyse, last_steps
from loradrift.analysis.drift.usable_pairs import readable
from loradrift.analysis.drift_report.fairness import first_words
from loradrift.runs import Cell, read_record

SIZES = {"full_finetune": 0.5, "lora": 0.2}


@pytest.fixture
def found(tmp_path):
    """The pairing and the tables of two runs, whose options are given by method."""

    def found(**options):
        for method, size in SIZES.items():
            own = {"num_rows": 40} | options.get(method, {})
            write_run(tmp_path / "runs", method, 1, size=size, **own)
        return analysed(tmp_path)

    return found


def analysed(folder):
    pairing = readable(find_pairs(folder / "runs", None), [], folder / "results")
    tables = analyse(pairing, [], folder / "results", 0) if pairing.pairs else None
    return pairing, tables


LONG = {"steps": (0, 40, 60, 100), "scores": (0.6, 0.8, 0.7)}
"""Its best validation is at step 60."""

SHORT = {"steps": (0, 25, 50), "scores": (0.6, 0.8)}


def curve(tables, method):
    own = tables.mean_drift[tables.mean_drift["method"] == method]
    return own.set_index("step")["drift"]


def test_the_longer_run_counts_as_if_it_had_ended_where_the_other_does(found):
    pairing, tables = found(lora=LONG, full_finetune=SHORT)
    [pair] = pairing.pairs
    assert pair.treatment.end == 50 and pair.control.end is None
    drift = curve(tables, "lora")
    halfway = (drift[40] + drift[60]) / 2
    assert drift[50] == pytest.approx(halfway) and list(drift.index) == [0, 40, 50, 60, 100]
    row = tables.reduction.iloc[0]
    assert row["lora"] == pytest.approx(halfway)
    assert row["full_finetune"] == pytest.approx(curve(tables, "full_finetune")[50])

    # everything else that is of the end is of that point too
    layers = tables.layers.set_index("layer")["lora"]
    whole = tables.drift[(tables.drift["method"] == "lora") & (tables.drift["measure"] == "cka")]
    sides = [whole[whole["step"] == step].set_index("layer")["drift"] for step in (40, 60)]
    np.testing.assert_allclose(layers, sum(sides) / 2)
    assert len(last_steps(whole)) == 3
    run = replace(pair.treatment, end=None)
    grids = [layer_grid(run, step)["cka"] for step in (40, 60)]
    shown = tables.grids.query("method == 'lora'")["cka"]
    np.testing.assert_allclose(shown, sum(grids) / 2)
    without = [mean_drift_replicates(run, step)["drift"] for step in (40, 60)]
    control = mean_drift_replicates(pair.control)["drift"]
    assert tables.summary["row_df"].item() == 39
    log_ratio = np.log((sum(without) / 2) / control)
    percent = 100 * (1 - (sum(without) / 2) / control)
    variances = [39 * each.var(ddof=0) for each in (percent, log_ratio)]
    assert any(tables.summary["row_variance"].item() == pytest.approx(v) for v in variances)

    [paragraph] = first_words(tables)
    assert "full fine-tuning saw 400 and LoRA saw 800 rows; compared at 400 rows" in paragraph.text
    assert "step 50 of 100 (interpolated between its dumps of steps 40 and 60)" in paragraph.text


def test_swapping_the_lengths_shortens_the_other_arm(found):
    pairing, tables = found(lora=SHORT, full_finetune=LONG)
    assert pairing.pairs[0].control.end == 50
    drift = curve(tables, "full_finetune")
    expected = (drift[40] + drift[60]) / 2
    assert tables.reduction["full_finetune"].item() == pytest.approx(expected)


def test_equal_rows_in_unequal_batches_are_compared_at_both_ends(found):
    pairing, tables = found(lora=LONG | {"batch": 4}, full_finetune=SHORT)
    assert [run.end for run in pairing.pairs[0]] == [None, None]
    assert tables.reduction["lora"].item() == pytest.approx(curve(tables, "lora")[100])
    assert first_words(tables) == []
    settings = tables.differences.set_index("setting")
    assert list(settings.loc["task.batch_size", ["full_finetune", "lora"]]) == ["8", "4"]


def test_a_dump_at_that_very_point_is_taken_as_it_is(found):
    options = {"steps": (0, 50, 100), "scores": (0.8, 0.7)}
    _, tables = found(lora=options, full_finetune=SHORT)
    assert tables.reduction["lora"].item() == curve(tables, "lora")[50]
    [paragraph] = first_words(tables)
    assert "(its dump of step 50)" in paragraph.text


@pytest.mark.parametrize(("scores", "counts"), [((0.8, 0.7, 0.7), True), ((0.6, 0.8, 0.7), False)])
def test_a_score_of_more_training_takes_no_part(found, scores, counts):
    _, tables = found(lora=LONG | {"scores": scores}, full_finetune=SHORT)
    score = tables.runs.set_index("method")["score"]
    assert np.isfinite(score["lora"]) == counts and np.isfinite(score["full_finetune"])
    h1, h2 = decide_tables(tables)[:2]
    assert (h1.estimate is not None) == counts and h2.estimate is not None
    assert ("LoRA's scores are of more training than it is compared at" in h1.note) != counts
    assert ("best checkpoint is of step 60" in first_words(tables)[0].text) != counts


@pytest.mark.parametrize("steps", [(0, 100), (0, 60, 100)])
def test_without_dumps_on_both_sides_it_is_refused(found, steps):
    options = {"steps": steps, "scores": (0.8, 0.7)[: len(steps) - 1]}
    pairing, _ = found(lora=options, full_finetune=SHORT)
    [problem] = pairing.problems
    assert not pairing.pairs and problem.startswith("sst2 seed=1: ")
    assert "has seen 800 rows and" in problem and "400: at as many, its step 50" in problem
    assert "callbacks.activation_dump.every_n_steps=50" in problem


@pytest.mark.parametrize("key", ["task.batch_size", "trainer.accumulate", "trainer.devices"])
def test_unknown_rows_are_refused_unless_they_were_counted(found, tmp_path, key):
    folder = found()[0].pairs[0].treatment.folder
    record = read_record(folder)
    group, name = key.split(".")
    del record.config[group][name]
    Cell(folder, record).save()
    pairing, _ = analysed(tmp_path)
    [problem] = pairing.problems
    assert "how many rows it has seen is unknown" in problem and key in problem
    Cell(folder, record).save(budget={"rows_seen": 800, "tokens_seen": 9000, "epochs": 2.0})
    pairing, tables = analysed(tmp_path)
    assert len(pairing.pairs) == 1
    row = tables.budget.set_index("method").loc["lora"]
    assert (row["rows_seen"], row["tokens_seen"], row["counted"]) == (800, 9000, True)


def test_what_was_counted_wins_over_what_was_planned(found, tmp_path):
    found(full_finetune=SHORT)
    folder = tmp_path / "runs/drift/sst2/lora/seed=1"
    Cell(folder, read_record(folder)).save(budget={"rows_seen": 400, "tokens_seen": 1})
    pairing, _ = analysed(tmp_path)
    assert [run.end for run in pairing.pairs[0]] == [None, None]


def test_every_setting_that_differs_is_listed_with_both_values(tmp_path):
    for seed, lr in ((1, 0.001), (2, 0.002)):
        for method, size in SIZES.items():
            folder = write_run(tmp_path / "runs", method, seed, size=size, num_rows=40)
            record = read_record(folder)
            record.config["method"]["optim"] = {"lr": lr if method == "lora" else 0.01}
            record.config["seed"], record.git = seed, {"commit": f"c{seed}"}
            Cell(folder, record).save(device="gpu" if method == "lora" else "cpu")
    _, tables = analysed(tmp_path)
    table = tables.differences.set_index("setting")
    rate = table.loc["method.optim.lr"]
    assert (rate["full_finetune"], rate["lora"]) == ("0.01", "0.001 (seed 1); 0.002 (seed 2)")
    assert rate["over_seeds"] and not table.loc["device", "over_seeds"]
    assert list(table.loc["device", ["full_finetune", "lora"]]) == ["cpu", "gpu"]
    assert table.loc["method.rank", "full_finetune"] == "-"
    assert table.loc["git.commit", "lora"] == "c1 (seed 1); c2 (seed 2)"
    assert "seed" not in table.index and "task.batch_size" not in table.index
    assert isinstance(tables.differences, pd.DataFrame) and set(table["task"]) == {"all"}
