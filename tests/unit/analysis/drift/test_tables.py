"""From runs on disk to tables: planted drift comes back, and nothing is made up."""

import json

import numpy as np
import pytest
from planted import QUICK, analysed, planted_drift, write_pair, write_run

from loradrift.activations import ActivationReader
from loradrift.analysis.drift.hypothesis_data import decide_tables
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.results_json import drift_results
from loradrift.similarity import MEASURES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three seeds of both methods, below ``runs``."""
    folder = tmp_path_factory.mktemp("tables")
    for seed in (1, 2, 3):
        write_run(folder / "runs", "full_finetune", seed, size=0.5, scores=(0.7, 0.8))
        write_run(folder / "runs", "lora", seed, size=0.2, scores=(0.6, 0.9))
    return folder


@pytest.fixture(scope="module")
def tables(folder):
    return analysed(folder, "procrustes")


@pytest.mark.parametrize(("method", "size"), [("full_finetune", 0.5), ("lora", 0.2)])
def test_planted_drift_comes_back_in_every_layer(tables, method, size):
    own = tables.drift.query("method == @method and measure == 'cka' and step == 100")
    drift = own.groupby("layer")["drift"].mean().to_numpy()
    np.testing.assert_allclose(drift, planted_drift(size), rtol=0.08)
    np.testing.assert_allclose(tables.layers[method], drift)
    assert (tables.layers["p_adjusted"] >= tables.layers["least_p"]).all()
    # The grid holds each layer's own similarity on its diagonal.
    own = tables.grids.query("method == @method and base_layer == layer")
    np.testing.assert_allclose(1 - own.groupby("layer")["cka"].mean(), drift, atol=1e-5)


def test_the_drift_is_the_measures_own_distance(tables, folder):
    [pair, *_] = find_pairs(folder / "runs", None).pairs
    store = pair.treatment.store
    own = tables.drift.query("method == 'lora' and seed == 1 and step == 100")
    drift = own.set_index(["measure", "layer"])["drift"]
    for measure in ("cka", "cka_biased", "cosine", "cosine_centered", "procrustes"):
        for layer, name in enumerate(store.layer_names):
            expected = MEASURES[measure].distance(store.read(0)[name], store.read(100)[name])
            assert drift[measure, layer] == pytest.approx(expected, rel=1e-6)


def test_the_ratio_is_recovered_within_its_interval(tables):
    full, lora = (np.mean(planted_drift(size)) for size in (0.5, 0.2))
    truth = lora / full
    [row] = tables.summary.to_dict("records")
    assert row["ratio_lower_any_text"] <= row["ratio_lower"] < row["ratio_upper"]
    assert row["ratio_lower_any_text"] < truth < row["ratio_upper_any_text"]
    assert row["ratio_upper"] <= row["ratio_upper_any_text"]
    assert row["ratio"] == pytest.approx(truth, abs=0.02)
    assert row["mean"] == pytest.approx(100 * (1 - truth), abs=2)
    assert (row["p_sign_flip"], row["least_p"]) == (0.25, 0.25)
    # H2's interval reaches past the probe. With one task its contrast is the summary's own.
    h2 = decide_tables(tables)[1]
    assert (h2.ratio_lower, h2.ratio_upper) == pytest.approx(
        (row["ratio_lower_any_text"], row["ratio_upper_any_text"])
    )
    assert h2.row_standard_error == pytest.approx(row["row_variance"] ** 0.5)
    assert h2.row_standard_error > 0 and "other rows than the probe's" in h2.note


def test_step_zero_has_no_drift_and_controls_say_so(tables):
    assert (tables.drift.query("step == 0 and measure == 'cka'")["drift"] == 0).all()
    assert (tables.controls["rerun"] == 0).all()
    assert (tables.controls["floor"] < 1e-4).all()
    assert tables.controls["shuffled"].to_numpy() == pytest.approx(1, abs=0.05)


def test_equal_performance_is_interpolated_between_validations_and_dumps(tables):
    table = tables.equal_performance.set_index(["method", "seed"])
    # Full fine-tuning's best, 0.8, is the level; LoRA passes it two thirds of the way to 0.9.
    assert table.loc[("full_finetune", 1), "step"] == 100
    assert table.loc[("lora", 1), "step"] == pytest.approx(50 + 50 * 2 / 3)
    own = tables.mean_drift.query("method == 'lora' and seed == 1").set_index("step")["drift"]
    expected = own[50] + (own[100] - own[50]) * 2 / 3
    assert table.loc[("lora", 1), "drift"] == pytest.approx(expected)
    assert not table["before_first_validation"].any()


def test_a_score_never_reached_is_nan(tmp_path):
    for seed, scores in ((1, (0.7, 0.8)), (2, (0.5, 0.6))):
        write_run(tmp_path / "runs", "full_finetune", seed, size=0.5, scores=scores)
        write_run(tmp_path / "runs", "lora", seed, size=0.2, scores=(0.6, 0.9))
    table = analysed(tmp_path).equal_performance.set_index(["method", "seed"])
    drift = table.loc["full_finetune", "drift"]
    assert np.isnan(drift[2]) and not np.isnan(drift[1])


def test_notebooks_find_their_keys(tables):
    results = json.loads(json.dumps(drift_results(tables, decide_tables(tables)), allow_nan=False))
    assert results["tasks_analyzed"] == ["sst2"]
    assert results["seeds_per_task"] == [1, 2, 3]
    comparison = results["task_results"]["sst2"]["comparison_statistics"]
    assert comparison["mean_drift_reduction_percent"] == pytest.approx(tables.summary["mean"][0])
    assert comparison["std_drift_reduction_percent"] > 0
    assert set(comparison["significance_test"]) >= {"p_value", "significant_at_05"}
    first = results["task_results"]["sst2"]["all_results"]["lora"][0]
    layer = first["layer_wise_drift"]["layer_2"]
    assert first["seed"] == 1 and layer["drift"] == pytest.approx(1 - layer["cka"])
    assert set(layer) == {"cka", "cosine", "drift"}
    assert results["cross_task_summary"]["std_drift_reduction_all_tasks"] is None  # of one task


def test_a_second_call_reads_what_it_remembers(tables, folder, monkeypatch):
    monkeypatch.setattr(ActivationReader, "_load", lambda *_: pytest.fail("an activation is read"))
    assert analysed(folder, "procrustes").drift.equals(tables.drift)


@pytest.mark.parametrize(
    ("full", "lora", "verdict"), [(0.5, 0.2, "supported"), (0.3, 0.3, "equivalent")]
)
def test_less_drift_is_supported_and_equal_methods_never_are(tmp_path, full, lora, verdict):
    for task in ("sst2", "mrpc", "rte"):
        for seed in (1, 2, 3):
            quick = QUICK | {"task": task, "num_rows": 100}
            write_pair(tmp_path / "runs", seed, full=full, lora=lora, **quick)
    verdicts = {o.hypothesis.name: str(o.verdict) for o in decide_tables(analysed(tmp_path))}
    assert (verdicts["H2 drift"], verdicts["H3 serving"]) == (verdict, "no data")
