"""What a study says: verdicts over incomplete grids, tests over all blocks, descriptions."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted import QUICK, analysed, write_pair, write_run

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypothesis_data import _missing, decide_tables
from loradrift.analysis.drift.results_json import drift_results
from loradrift.analysis.drift_report import sections
from loradrift.statistics import equivalence, paired_d, pooled_d


@pytest.fixture
def found(tmp_path):
    """The tables of quick pairs by task and seed, added to those that are there."""

    def found(*cells, num_rows=40):
        for task, seed in cells:
            quick = QUICK | {"task": task, "num_rows": num_rows}
            write_pair(tmp_path / "runs", seed, full=0.5, lora=0.2, **quick)
        return analysed(tmp_path)

    return found


def comparison(tables):
    return drift_results(tables, decide_tables(tables))["task_results"]["sst2"][
        "comparison_statistics"
    ]


def test_tasks_with_different_seeds_are_undecided_and_say_what_to_add(found):
    for outcome in decide_tables(found(("sst2", 1), ("mrpc", 2)))[:2]:
        assert outcome.verdict == "undecided"
        assert "no pair of mrpc seed=1: `python train.py -m task=mrpc" in outcome.note
        assert "task=sst2 method=full_finetune,lora seed=2 study.name=drift" in outcome.note
    h2 = decide_tables(found(("mrpc", 1)))[1]
    assert (h2.num_seeds, h2.num_tasks) == (1, 2)
    assert "no pair of sst2 seed=2: `python" in h2.note and "no pair of mrpc" not in h2.note


@pytest.mark.parametrize(
    ("overrides", "command"),
    [
        ("task.epochs=1", "`python train.py -m task=sst2 {} seed=2 task.epochs=1`"),
        ("data.root=glue~40a947f2", "the command of its other seeds with seed=2"),
    ],
)
def test_a_shortened_override_is_not_offered_to_be_typed(overrides, command):
    rows = [("sst2", 1, overrides), ("rte", 1, overrides), ("rte", 2, overrides)]
    runs = pd.DataFrame(rows, columns=["task", "seed", "overrides"])
    command = command.format("method=full_finetune,lora")
    assert _missing(Arms.of(), runs) == f"no pair of sst2 seed=2: {command} adds it"


def test_more_seeds_than_flips_can_be_counted_for(found):
    tables = found(*[("sst2", seed) for seed in range(21)], num_rows=12)
    assert (tables.layers["least_p"] < 0.001).all() and len(tables.reduction) == 21
    assert tables.overall["exact"].all()


def test_one_seed_has_no_p_value_however_it_is_corrected(found):
    stated = comparison(found(("sst2", 1)))
    for name in ("", "_bonferroni", "_holm", "_benjamini_hochberg"):
        assert stated["significance_test"][f"p_value{name}"] is None
    assert stated["drift_ratio"]["ci_95"] == [None, None]


def test_all_tasks_are_tested_together(found):
    tables = found(*[(task, seed) for seed in (1, 2, 3) for task in ("sst2", "mrpc", "rte")])
    results = json.loads(json.dumps(drift_results(tables, decide_tables(tables)), allow_nan=False))
    whole = results["cross_task_summary"]["sign_flip_all_tasks"]
    # A seed may be lucky on all tasks: three seeds are three blocks, and not nine.
    assert (whole["num_seeds"], whole["p_value"], whole["least_p_value"]) == (3, 0.25, 0.25)
    assert whole["exact"] is True
    # the very numbers of the verdict, digit for digit
    h2 = decide_tables(tables)[1]
    assert results["cross_task_summary"]["drift_ratio_all_tasks"] == {
        "ratio": h2.ratio, "ci_95": [h2.ratio_lower, h2.ratio_upper], "tasks_disagree": False,
        "num_seeds": 3, "num_tasks": 3,
    }  # fmt: skip
    apart = [replace(h2, tasks_disagree=True)]
    ratio = drift_results(tables, apart)["cross_task_summary"]["drift_ratio_all_tasks"]
    assert (ratio["ratio"], ratio["ci_95"]) == (None, [None, None])


def test_effect_sizes_and_descriptions(found):
    tables = found(*[("sst2", seed) for seed in (1, 2, 3)])
    lora, full = (tables.reduction[name].to_numpy() for name in ("lora", "full_finetune"))
    stated = comparison(tables)
    for name, effect in {"d_z": paired_d(lora, full), "pooled_d": pooled_d(lora, full)}.items():
        shown = stated["effect_sizes"][name]
        assert (shown["d"], shown["g"]) == pytest.approx((effect.d, effect.g))
        assert shown["ci_95"] == pytest.approx([effect.low, effect.high])
    # The rows' pseudo-values have the reductions as their means.
    low, high = stated["hierarchical_bootstrap"]["ci_95_ratio"]
    ratio = stated["drift_ratio"]["ratio"]
    assert ratio == pytest.approx(np.exp(np.log(lora / full).mean()))
    assert low < ratio < high < 2 * low
    assert "5 to 29 % of cases" in stated["hierarchical_bootstrap"]["note"]
    equal = stated["equivalence"]
    expected = equivalence(np.log(lora), np.log(full), np.log(0.8), np.log(1.25))
    ends = np.exp([expected.interval.low, expected.interval.high])
    assert equal["ci_90_ratio"] == pytest.approx(list(ends))
    assert equal["p_value"] == pytest.approx(expected.p) and equal["equal_ratios"] == [0.8, 1.25]
    sizes, others = sections.effect_sizes(tables)
    assert list(sizes.frame)[2:4] == ["paired d", "paired d, Hedges"]
    assert {"p, Bonferroni", "p, Holm", "p, Benjamini-Hochberg"} <= set(others.frame)
    assert "bootstrap" not in " ".join([*others.frame, others.caption])


def test_a_score_reached_before_the_first_validation_is_marked(found, tmp_path):
    write_run(tmp_path / "runs", "full_finetune", 1, size=0.5, scores=(0.6, 0.7), num_rows=40)
    write_run(tmp_path / "runs", "lora", 1, size=0.2, scores=(0.9, 0.92), num_rows=40)
    tables = found()
    table = tables.equal_performance.set_index("method")
    assert table["before_first_validation"].to_dict() == {"full_finetune": False, "lora": True}
    assert table.loc["lora", "step"] == 50
    shown = sections.at_equal_performance(tables)
    column = shown.frame.set_index("method")["before the first validation"]
    assert column.to_dict() == {"full fine-tuning": 0, "LoRA": 1}
    assert "before the first validation nobody knows when" in shown.caption
