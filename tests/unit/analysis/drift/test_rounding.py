"""Runs that are copies but for their rounding: no pairs, no arms, a table of their own."""

import json

import numpy as np
import pandas as pd
import pytest
from planted import QUICK, analysed, write_pair, write_run

from loradrift.activations import ActivationStore
from loradrift.analysis.drift.hypothesis_data import decide_tables
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.results_json import drift_results
from loradrift.analysis.drift.rounding import COLUMNS, rounding_variance, with_copies
from loradrift.analysis.drift.tables import analyse
from loradrift.analysis.drift.usable_pairs import readable
from loradrift.analysis.drift_report.rounding import rounding_blocks
from loradrift.analysis.tables import read_tables, write_tables
from loradrift.report.blocks import Paragraph, Table
from loradrift.runs import Cell, Status, read_record
from loradrift.similarity import MEASURES

SMALL = QUICK | {"num_rows": 40}


def copy_of(method, runs, number, *, seed=1, variant="", score=0.8, **options):
    variant = f"{variant},trainer.rounding={number}".lstrip(",")
    options = SMALL | {"size": 0.2 + number / 50, "scores": (score,), "variant": variant} | options
    return write_run(runs, method, seed, **options)


@pytest.fixture
def made_again(tmp_path):
    """Two seeds of both arms on two tasks; of one task, the first seed was made again."""
    runs = tmp_path / "runs"
    for seed in (1, 2):
        for task in ("sst2", "mrpc"):
            write_pair(runs, seed, task=task, **SMALL)
    for method in ("full_finetune", "lora"):
        copy_of(method, runs, 1, score=0.7)
        copy_of(method, runs, 2, score=0.75)
    return tmp_path


def log_drift(folder):
    """By the measure alone."""
    store = ActivationStore(folder / "activations")
    first, last = store.read(0), store.read(9)
    return np.log(np.mean([MEASURES["cka"].distance(first[k], last[k]) for k in first]))


def test_a_copy_is_no_pair_and_no_arm(made_again):
    runs = made_again / "runs"
    copy_of("lora", runs, 3, seed=9)  # of a run that is not there: nobody's copy
    copy_of("dora", runs, 1)
    pairing = find_pairs(runs, None)
    assert len(pairing.pairs) == 4 and pairing.others == [] and pairing.problems == []
    assert all(run.record.rounding == 0 for pair in pairing.pairs for run in pair)
    tables = analysed(made_again)
    assert len(tables.runs) == 8 and list(tables.compared["role"]) == ["control", "treatment"]
    assert set(tables.drift["seed"]) == {1, 2}


def test_the_deviations_are_those_of_the_run_and_its_copies(made_again):
    table = analysed(made_again).rounding
    assert list(table) == list(COLUMNS)
    assert list(table["task"]) == ["sst2", "sst2"] and list(table["seed"]) == [1, 1]
    assert list(table["roundings"]) == list(table["df"]) == [2, 2]
    for row in table.to_dict("records"):
        folders = [row["method"], *(f"{row['method']},trainer.rounding={n}" for n in (1, 2))]
        logs = [log_drift(made_again / f"runs/drift/sst2/{each}/seed=1") for each in folders]
        assert np.log([row["drift"], *row["nudged_drifts"]]) == pytest.approx(logs, rel=1e-6)
        assert row["sd_log_drift"] == pytest.approx(np.std(logs, ddof=1))
        assert row["sd_score"] == pytest.approx(np.std([0.8, 0.7, 0.75], ddof=1))


def rows(*cells):
    columns = ["task", "method", "seed", "sd_log_drift", "df"]
    return pd.DataFrame([dict(zip(columns, cell, strict=True)) for cell in cells], columns=columns)


def test_the_variance_is_of_the_mean_over_tasks_of_both_arms():
    table = rows(
        ("sst2", "a", 1, 0.3, 2), ("sst2", "b", 1, 0.4, 2),
        ("rte", "a", 1, 0.1, 2), ("rte", "b", 1, 0.2, 1), ("rte", "b", 2, 0.5, 3),
        ("mrpc", "a", 1, 0.1, 2),
    )  # fmt: skip
    assert rounding_variance(table, ["sst2"]) == pytest.approx((0.3**2 + 0.4**2, 2))
    pooled = (0.2**2 + 3 * 0.5**2) / 4  # of two seeds, each around its own mean
    both = (0.3**2 + 0.4**2 + 0.1**2 + pooled) / 4
    assert rounding_variance(table, ["sst2", "rte"]) == pytest.approx((both, 2))
    # an arm that was not made again adds nothing: a lower bound
    assert rounding_variance(table, ["mrpc"]) == pytest.approx((0.1**2, 2))
    for tasks in (["sst2", "cola"], ["cola"]):
        assert rounding_variance(table, tasks) is None
    assert rounding_variance(pd.DataFrame(columns=COLUMNS), ["sst2"]) is None


def test_the_variance_is_what_the_mean_ratio_really_varies_by():
    """Drawn log drifts of both arms on three tasks, against the spread of their mean ratio."""
    rng = np.random.default_rng(0)
    sds = {("a", "x"): 0.1, ("a", "y"): 0.3, ("b", "x"): 0.2, ("b", "y"): 0.1, ("c", "x"): 0.4}
    sds[("c", "y")] = 0.05
    draws = {cell: rng.normal(0, sd, 200_000) for cell, sd in sds.items()}
    ratio = np.mean([draws[task, "y"] - draws[task, "x"] for task in "abc"], axis=0)
    table = rows(*((*cell, 1, draw.std(ddof=1), len(draw) - 1) for cell, draw in draws.items()))
    assert rounding_variance(table, list("abc")).value == pytest.approx(ratio.var(), rel=0.02)


def change(folder, **fields):
    record = read_record(folder)
    for key, value in fields.items():
        setattr(record, key, value)
    Cell(folder, record).save()


def test_what_is_no_copy_and_what_cannot_be_read_is_named(made_again):
    runs = made_again / "runs"
    names = ("settings", "probe", "failed", "damaged", "still")
    folders = dict(zip(names, (copy_of("lora", runs, n) for n in range(3, 8)), strict=True))
    config = read_record(folders["settings"]).config
    change(folders["settings"], config=config | {"method": {"rank": 4}})
    prints = read_record(folders["probe"]).fingerprints
    change(folders["probe"], fingerprints=prints | {"probe": "x"})
    change(folders["failed"], status=Status.FAILED, error="no such luck")
    (folders["damaged"] / "activations/step=000009.safetensors").write_bytes(b"half")
    for path in folders["still"].glob("activations/step=000009*"):
        path.write_bytes((path.parent / "step=000000.safetensors").read_bytes())
    manifest = folders["still"] / "activations/manifest.json"
    saved = json.loads(manifest.read_text())
    saved["steps"]["9"] = saved["steps"]["0"]
    manifest.write_text(json.dumps(saved))
    found = with_copies(find_pairs(runs, None), made_again / "results")
    numbers = {
        run.method: [each.record.rounding for each in own] for run, own in found.copies.items()
    }
    assert numbers == {"full_finetune": [1, 2], "lora": [1, 2]}
    assert len(found.problems) == 5
    for name, words in {
        "settings": "method.rank differ from", "probe": "probe differ from", "damaged": "step=0000",
        "failed": "no such luck", "still": "its drift is",
    }.items():  # fmt: skip
        [line] = [line for line in found.problems if words in line]
        assert str(folders[name]) in line


def test_the_same_draw_counts_once(made_again):
    runs = made_again / "runs"
    copy_of("lora", runs, 1, variant="best=x.yaml~1")  # with the values of the others
    table = analysed(made_again).rounding.set_index("method")
    assert table.loc["lora", "roundings"] == 2


def texts(blocks):
    return " ".join(block.text for block in blocks if isinstance(block, Paragraph))


def test_the_report_says_it_in_words_or_how_to_measure_it(made_again):
    tables = analysed(made_again)
    own = tables.rounding.set_index("method")["sd_log_drift"]
    blocks = rounding_blocks(tables)
    said = texts(blocks)
    assert "moved in the last bit, 2 times: rounding alone changes" in said
    assert f"LoRA's drift by a factor of {np.exp(own['lora']):.3g}" in said
    both = np.exp(np.hypot(own["lora"], own["full_finetune"]))
    assert f"the ratio of the arms on one task by {both:.3g} (one standard" in said
    assert "was not measured on mrpc" in said and "sst2" not in said
    command = "python train.py -m task=mrpc method=full_finetune,lora seed=1 study.name=drift"
    assert f"`{command}" in said and "trainer.rounding=1,2`" in said
    [table] = [block for block in blocks if isinstance(block, Table)]
    assert list(table.frame["factor, ratio of the arms"]) == pytest.approx([both, both])
    results = drift_results(tables, decide_tables(tables))["task_results"]
    assert results["mrpc"]["rounding"] is None
    found = json.loads(json.dumps(results["sst2"]["rounding"]))
    assert np.exp(found["sd_log_ratio"]) == pytest.approx(both) and found["df"] == 2
    [run] = found["runs"]["lora"]
    assert len(run["nudged_drifts"]) == run["roundings"] == 2 and run["seed"] == 1


@pytest.mark.parametrize("measured", [True, False])
def test_the_table_survives_its_file(made_again, measured):
    tables = analysed(made_again)
    if not measured:
        tables = tables._replace(rounding=pd.DataFrame(columns=COLUMNS))
    write_tables(made_again / "tables", {"rounding": tables.rounding})
    read = tables._replace(**read_tables(made_again / "tables", ["rounding"], "x"))
    assert list(read.rounding) == list(COLUMNS)
    assert texts(rounding_blocks(read)) == texts(rounding_blocks(tables))
    assert (
        drift_results(read, decide_tables(read))["task_results"]
        == drift_results(tables, decide_tables(tables))["task_results"]
    )


def test_a_copy_of_a_run_that_saw_more_rows_ends_where_that_run_does(tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    dumps = SMALL | {"steps": (0, 4, 8), "scores": (0.7, 0.8)}
    write_run(runs, "full_finetune", 1, size=0.2, batch=8, **dumps)
    write_run(runs, "lora", 1, size=0.2, batch=16, **dumps)
    variant = "trainer.rounding=1"
    write_run(runs, "lora", 1, size=0.22, batch=16, variant=variant, **dumps)
    pairing = with_copies(readable(find_pairs(runs, None), [], results), results)
    tables = analyse(pairing, [], results, 0)
    [row] = tables.rounding.to_dict("records")
    assert row["drift"] == tables.reduction["lora"].item()
    store = ActivationStore(runs / "drift/sst2/lora,trainer.rounding=1/seed=1/activations")
    first, half = store.read(0), store.read(4)
    drift = np.mean([MEASURES["cka"].distance(first[k], half[k]) for k in first])
    assert row["nudged_drifts"] == pytest.approx([drift], rel=1e-6)


def test_h2s_seeds_vary_at_least_as_much_as_rounding_does(made_again):
    tables = analysed(made_again)
    h2 = decide_tables(tables)[1]
    own = rounding_variance(tables.rounding, ["sst2"]).value
    assert h2.rounding_deviation == pytest.approx(own**0.5 / 2)  # of two tasks one was made again
    without = decide_tables(tables._replace(rounding=tables.rounding.iloc[:0]))[1]
    assert without.rounding_deviation is None
    assert without.verdict_upper / without.verdict_lower <= h2.verdict_upper / h2.verdict_lower
