"""From chains on disk to tables: planted matrices come back, mirrored arms mirror."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from planted import planted_drift
from planted_chains import FULL, LORA, NEUTRAL, ORDER, SIZES, write_chain
from scipy import stats

from loradrift.analysis.frontier.ratios import LESS, MORE
from loradrift.analysis.sequence.comparison import judge
from loradrift.analysis.sequence.scores import Column
from loradrift.analysis.sequence.tables import tabulate
from loradrift.analysis.sequence.transfer import MEASURES, per_seed
from loradrift.statistics import Interval


def square(folder, arm, seed):
    """The scores of a chain as its runs record them, in percent: steps by tasks, NaN above."""
    method = arm.partition("_")[0] if "_r" in arm else arm
    matrix = np.full((3, 3), np.nan)
    for k, task in enumerate(ORDER):
        name = f"{method},after={'+'.join(ORDER[:k])}" if k else method
        path = folder / "runs/sequence" / task / name / f"seed={seed}/run.json"
        metrics = json.loads(path.read_text())["metrics"]
        for j, each in enumerate(ORDER[: k + 1]):
            split = "evaluation" if j == k else f"earlier/{each}"
            matrix[k, j] = 100 * metrics[f"{split}/accuracy"]
    return matrix


def by_paper(matrix_SKJ):
    """Average accuracy, backward transfer and forgetting of each seed, in loops over the papers."""
    found = {"accuracy": [], "backward_transfer": [], "forgetting": []}
    for matrix in matrix_SKJ:
        last = len(matrix) - 1
        found["accuracy"].append(sum(matrix[last]) / (last + 1))
        gains = [matrix[last, j] - matrix[j, j] for j in range(last)]
        found["backward_transfer"].append(sum(gains) / last)
        falls = [max(matrix[k, j] for k in range(j, last)) - matrix[last, j] for j in range(last)]
        found["forgetting"].append(sum(falls) / last)
    return found


def row_of(found, measure):
    [row] = [row for row in found.compared if row["measure"] == measure]
    return row


@pytest.mark.parametrize("arm", [FULL, LORA])
def test_means_over_tasks_are_those_of_the_papers(found, folder, arm):
    expected = by_paper([square(folder, arm, seed) for seed in (1, 2, 3)])
    own = found.tables["summary"].set_index(["arm", "measure"]).loc[arm]
    for measure, values in expected.items():
        row = own.loc[measure]
        texts = [f"{seed}: {value:.4g}" for seed, value in zip((1, 2, 3), values, strict=True)]
        assert row["by_seed"] == ", ".join(texts)
        half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
        ends = [np.mean(values), np.mean(values) - half, np.mean(values) + half]
        assert row[["value", "value_low", "value_high"]].tolist() == pytest.approx(ends)
    # LoRA's best score on RTE comes after MRPC: forgetting is no mirror of backward transfer
    total = own.loc["backward_transfer", "value"] + own.loc["forgetting", "value"]
    assert (total > 0.2) == (arm == LORA)


def test_a_task_that_ends_better_than_ever_has_a_negative_forgetting():
    """Scores at random, of which the last is the best of some."""
    matrices = np.random.default_rng(0).uniform(50, 90, (6, 3, 3))
    columns = {
        seed: {task: Column(matrix[j:, j], None) for j, task in enumerate(ORDER)}
        for seed, matrix in enumerate(matrices)
    }
    expected = by_paper(matrices)
    assert min(expected["forgetting"]) < 0
    for name, measure in MEASURES.items():
        values = per_seed(columns, measure, ORDER if measure.has_last else ORDER[:-1])
        assert [*values.values()] == pytest.approx(expected[name])


def test_differences_are_paired_by_seed(found, folder):
    sides = [by_paper([square(folder, arm, s) for s in (1, 2, 3)]) for arm in (LORA, FULL)]
    for measure in MEASURES:
        row = row_of(found, measure)
        values = np.subtract(sides[0][measure], sides[1][measure])
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        ends = [values.mean(), *expected]
        found_ends = [row[f"difference{end}"] for end in ("", "_low", "_high")]
        assert found_ends == pytest.approx(ends)
        assert row["least_p"] == 0.25
    assert row_of(found, "backward_transfer")["verdict"] == MORE


def test_swapped_arms_mirror_every_difference_ratio_and_verdict(found, folder, settings):
    mirrored = tabulate(settings(folder, baseline=LORA))
    turned = {LESS: MORE, MORE: LESS}
    assert {row["measure"] for row in found.compared} == {*MEASURES, "neutral", "drift"}
    for row in found.compared:
        other = row_of(mirrored, row["measure"])
        assert other["verdict"] == turned.get(row["verdict"], row["verdict"])
        assert other["difference"] == pytest.approx(-row["difference"])
        for low, high in (("difference_low", "difference_high"), ("rows_low", "rows_high")):
            ends = [-row[high], -row[low]]
            assert [other[low], other[high]] == pytest.approx(ends, nan_ok=True)
        ends = [1 / row[f"ratio{end}"] for end in ("", "_high", "_low")]
        assert [other[f"ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx(
            ends, nan_ok=True
        )
        assert (other["p"], other["tasks"]) == (row["p"], row["tasks"])


def test_seeds_have_no_order(found, folder, settings, tmp_path):
    """The same chains under seeds that sort the other way round."""
    new = {"1": 30, "2": 20, "3": 10}
    for path in (folder / "runs").glob("sequence/*/*/seed=*"):
        seed = new[path.name.partition("=")[2]]
        copy = tmp_path / path.relative_to(folder).parent / f"seed={seed}"
        shutil.copytree(path, copy)
        record = json.loads((copy / "run.json").read_text())
        record["coordinates"]["seed"] = seed
        for each in record["start"].get("chain", []):
            each["seed"] = seed
        (copy / "run.json").write_text(json.dumps(record))
    other = tabulate(settings(tmp_path))
    for name in ("matrix", "summary", "along", "comparisons"):
        one, two = (each.tables[name].drop(columns=["by_seed", "seeds"], errors="ignore")
                    for each in (found, other))  # fmt: skip
        loose = ["floor"] if "floor" in one else []  # drawn anew for another first model's dump
        pd.testing.assert_frame_equal(one.drop(columns=loose), two.drop(columns=loose))


def bootstrapped(folder, arm, draws_RN):
    """Backward transfer of a chain with seeds as they are and rows drawn anew, one value a draw."""
    right = {}
    method = "lora" if arm == LORA else arm
    for seed in (1, 2, 3):
        for j, task in enumerate(ORDER[:2]):
            own = f"{method},after={'+'.join(ORDER[:j])}" if j else method
            end = f"sst2/{method},after=rte+mrpc/seed={seed}/chain/{task}"
            for when, place in (("own", f"{task}/{own}/seed={seed}"), ("end", end)):
                path = folder / "runs/sequence" / place / "predictions.jsonl"
                lines = map(json.loads, path.read_text().splitlines())
                rows = sorted(lines, key=lambda line: line["id"])
                right[seed, task, when] = np.array([r["label"] == r["prediction"] for r in rows])
    total = 0.0
    for j, task in enumerate(ORDER[:2]):
        changes = np.mean([right[s, task, "end"] - 1.0 * right[s, task, "own"] for s in (1, 2, 3)],
                          axis=0)  # fmt: skip
        total = total + 100 * changes[draws_RN[j]].mean(axis=1) / 2
    return total


def test_the_interval_over_rows_is_that_of_a_bootstrap_of_paired_rows(found, folder):
    draws = np.random.default_rng(0).integers(0, 200, (2, 4000, 200))
    values = {arm: bootstrapped(folder, arm, draws) for arm in (FULL, LORA)}
    rows = found.tables["summary"].set_index(["arm", "measure"])
    for arm, own in values.items():
        row = rows.loc[(arm, "backward_transfer")]
        low, high = np.quantile(own, [0.025, 0.975])
        assert row["rows_high"] - row["rows_low"] == pytest.approx(high - low, rel=0.08)
        assert row["value"] == pytest.approx((row["rows_low"] + row["rows_high"]) / 2)
    row = row_of(found, "backward_transfer")
    low, high = np.quantile(values[LORA] - values[FULL], [0.025, 0.975])
    assert row["rows_high"] - row["rows_low"] == pytest.approx(high - low, rel=0.08)


def test_drift_is_against_the_very_first_model(found):
    """Of planted noise: step 3 of RTE's own probe has that of step 3, not the sum of steps."""
    matrix = found.tables["matrix"].set_index(["arm", "step", "task"])
    for arm, factor in ((FULL, 1.0), (LORA, 0.7)):
        for k, after in enumerate(ORDER, start=1):
            expected = np.mean(planted_drift(factor * SIZES[after]))
            for task in ORDER[:k]:
                row = matrix.loc[(arm, k, task)]
                assert row["drift"] == pytest.approx(expected, rel=0.12)
                assert row["floor"] < 0.001 * k
    row = row_of(found, "drift")
    wanted = np.mean(planted_drift(0.7 * SIZES["sst2"])) / np.mean(planted_drift(SIZES["sst2"]))
    assert row["ratio"] == pytest.approx(wanted, rel=0.06) and row["verdict"] == LESS
    layers = found.tables["layers"]
    last = layers[(layers["step"] == 3) & (layers["arm"] == FULL)].groupby("layer")["drift"].mean()
    assert last.tolist() == pytest.approx(planted_drift(SIZES["sst2"]), rel=0.12)


def test_neutral_text_is_held_against_the_very_first_model(found):
    along = found.tables["along"].set_index(["arm", "step"])
    decay = np.mean([0.005, 0.01, -0.005])
    for k, task in enumerate(ORDER, start=1):
        assert along.loc[(FULL, k), "neutral"] == pytest.approx(NEUTRAL[task] + decay)
        nats = -NEUTRAL[task] / 2 - 1.5 * decay
        assert along.loc[(LORA, k), "nats"] == pytest.approx(nats)
    row = row_of(found, "neutral")
    logs = [np.log((0.2 - d / 2) / (0.4 + d)) for d in (0.005, 0.01, -0.005)]
    assert row["ratio"] == pytest.approx(np.exp(np.mean(logs)))


def test_a_task_that_an_arm_never_learned_takes_no_part(tmp_path, settings):
    matrix = {"rte": {"rte": 0.52}, "mrpc": {"rte": 0.40, "mrpc": 0.80}}
    for seed in (1, 2):
        options = {"order": ("rte", "mrpc"), "luck": 0.01 * seed}
        write_chain(tmp_path / "runs", FULL, seed, **options)
        write_chain(tmp_path / "runs", LORA, seed, matrix=matrix, **options)
    found = tabulate(settings(tmp_path))
    row = row_of(found, "backward_transfer")
    assert row["verdict"] == "not learned" and np.isnan(row["difference"])
    turned = tabulate(settings(tmp_path, baseline=LORA))
    assert row_of(turned, "backward_transfer")["verdict"] == "not learned"
    summary = found.tables["summary"].set_index(["arm", "measure"])["value"]
    assert summary[LORA, "backward_transfer"] == pytest.approx(-12)  # shown all the same
    assert row_of(found, "accuracy")["tasks"] == "rte, mrpc"


def test_one_seed_has_an_interval_over_rows_and_no_verdict(tmp_path, settings):
    for arm in (FULL, LORA):
        write_chain(tmp_path / "runs", arm, 1, luck=0.05 * (arm == LORA), decay=0.02, shift=7)
    found = tabulate(settings(tmp_path))
    for cell in found.tables["matrix"].to_dict("records"):
        share = cell["score"] / 100
        half = 100 * stats.t.ppf(0.975, 199) * np.sqrt(share * (1 - share) / 199)
        ends = [cell["score"] - half, cell["score"] + half]
        assert [cell["rows_low"], cell["rows_high"]] == pytest.approx(ends)
    row = row_of(found, "backward_transfer")
    assert (row["verdict"], row["why"]) == ("undecided", "one seed tells nothing of others")
    assert np.isnan(row["difference_low"]) and row["rows_low"] < row["rows_high"]


def test_a_chain_of_one_task_has_its_score_and_no_transfer(tmp_path, settings):
    for seed in (1, 2):
        write_chain(tmp_path / "runs", FULL, seed, until=1, luck=0.01 * seed)
    found = tabulate(settings(tmp_path, order=["rte"]))
    assert found.tables["matrix"]["score"].tolist() == pytest.approx([71.5])
    assert found.tables["summary"]["measure"].tolist() == ["accuracy"]


@pytest.mark.parametrize(
    ("ends", "note", "verdict"),
    [
        ((0.1, 5), "", "more"),
        ((-5, -0.1), "", "less"),
        ((-1.9, 1.9), "", "equal"),
        ((-1.9, 2.1), "", "undecided"),
        ((3, 3), "no variance", "undecided"),
    ],
)
def test_verdicts_are_read_from_the_interval(ends, note, verdict):
    assert judge(Interval(1.0, *ends, 2, 0.95, note), 2.0).verdict == verdict
