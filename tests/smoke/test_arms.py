"""Any two arms are compared, and the report names them and no others."""

import json
import re
from pathlib import Path

import front_doors
import pandas as pd
import pytest
from planted_weights import write_study

from loradrift.analysis.drift.tables import compare_runs
from loradrift.analysis.registry import make_config
from loradrift.analysis.weights.tables import find_weights

pytestmark = pytest.mark.end_to_end

ARMS = {"full_finetune": 0.5, "lora": 0.2, "dora": 0.35, "lora,method.rank=64": 0.3}
FULL = {"full_finetune": 0.5, "full_finetune,method.optim.lr=0.1": 0.3}


def analyze(folder: Path, *typed: str) -> str:
    return front_doors.output_of(front_doors.analyze(folder, *typed))


def texts(folder: Path) -> str:
    """What a reader sees of the report: the page, and the words in the figures."""
    results = folder / "results"
    page = re.sub(r"data:image[^\"]*", "", (results / "report.html").read_text())
    words = [re.sub(r"<style.*?</style>|<path.*?/>", "", svg.read_text(), flags=re.DOTALL)
             for svg in (results / "figures").glob("*.svg")]  # fmt: skip
    return "\n".join([page, *words])


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("arms"), sizes=ARMS)


def test_adapters_are_compared_and_the_report_says_so_everywhere(planted):
    arms = "analysis.control=lora", "analysis.treatment=dora"
    said = analyze(planted, *arms)
    report = texts(planted)
    assert "Representation drift: DoRA against LoRA" in report
    assert "Not compared: full_finetune; lora,method.rank=64." in report
    for text in (said, report):
        assert "full fine-tuning" not in text and "LoRA against" not in text
        assert "DoRA drifts at least 20 % less than LoRA" in re.sub(r"\s*│\s*│\s*|\n", " ", text)
    results = planted / "results"
    figures = {path.stem: path.read_text() for path in (results / "figures").glob("*.svg")}
    assert {"drift_ratio", "layer_difference", "intruders", "drift_against_norm"} <= {*figures}
    for name in ("layer_profiles", "frontier", "effective_rank", "drift_against_norm"):
        assert ">DoRA<" in figures[name] and ">LoRA<" in figures[name]
    found = json.loads((results / "drift_analysis/drift_analysis_results.json").read_text())
    assert (found["control"], found["treatment"]) == ("lora", "dora")
    assert found["not_compared"] == ["full_finetune", "lora,method.rank=64"]
    sst2 = found["task_results"]["sst2"]
    assert list(sst2["all_results"]) == ["lora", "dora"]
    assert sst2["comparison_statistics"]["mean_drift_reduction_percent"] < 0
    verdicts = json.loads((results / "hypotheses.json").read_text())
    assert (verdicts["control"], verdicts["treatment"]) == ("lora", "dora")
    # The whole model is what an update is measured against, though no arm trains all of it.
    totals = pd.read_parquet(results / "weights/totals.parquet")
    assert totals["relative_norm"].nunique() == 1 and set(totals["method"]) == {"lora", "dora"}

    page = (results / "report.html").read_bytes()
    analyze(planted, "analysis=report")
    assert (results / "report.html").read_bytes() == page
    analyze(planted, "analysis=hypotheses")  # of the default pair
    again = front_doors.error_of(front_doors.analyze(planted, "analysis=report"))
    assert "hypotheses.json is not about lora and dora" in again
    assert f"`python analyze.py analysis=hypotheses {' '.join(arms)}` makes it again" in again


def test_a_variant_is_an_arm(planted):
    said = analyze(planted, "analysis.control=lora", "analysis.treatment=lora,method.rank=64")
    report = texts(planted)
    assert "LoRA (method.rank=64) against LoRA" in said
    assert "full fine-tuning" not in report
    assert "LoRA (method.rank=64) drifts at least 20 % less than LoRA" in report
    assert "Not compared: dora; full_finetune." in report
    # The same runs by other names: what is remembered is not theirs.
    for name in ("lora", "lora,method.rank=8"):
        analyze(planted, "analysis=weights", f"analysis.control={name}", "analysis.treatment=dora")
        totals = pd.read_parquet(planted / "results/weights/totals.parquet")
        assert set(totals["method"]) == {name, "dora"}


def test_arms_without_adapters_have_their_weights_compared(tmp_path):
    write_study(tmp_path, sizes=FULL)
    said = analyze(tmp_path, "analysis.treatment='full_finetune,method.optim.lr=0.1'")
    assert "not analysed" not in said
    modules = pd.read_parquet(tmp_path / "results/weights/modules.parquet")
    assert modules["directions"].notna().all() and modules["lora_rank"].isna().all()
    report = texts(tmp_path)
    assert "full fine-tuning (method.optim.lr=0.1) against full fine-tuning" in report
    assert "LoRA" not in report and "adapter's rank, " not in report


RATIO_ENDS = {
    "summary": [
        ("ratio", "ratio"), ("ratio_lower", "ratio_upper"), ("ratio_upper", "ratio_lower"),
        ("ratio_lower_any_text", "ratio_upper_any_text"),
    ],
    "effects": [("equivalence_lower", "equivalence_upper")],
}  # fmt: skip
"""Of each table the columns that are each other's reciprocals when the arms are swapped."""


def test_swapped_arms_mirror_what_they_must(planted):
    found = {}
    for control, treatment in (("lora", "dora"), ("dora", "lora")):
        config = {"control": control, "treatment": treatment}
        settings = make_config("drift", runs=f"{planted}/runs", results=f"{planted}/r", **config)
        pairing, tables = compare_runs(settings.analysis)
        found[control] = tables, find_weights(settings.analysis, pairing, tables)
    (tables, weights), (swapped, swapped_weights) = found["lora"], found["dora"]
    both = tables, swapped
    kept, inverse = (1 - each.reduction["reduction_percent"].to_numpy() / 100 for each in both)
    assert kept * inverse == pytest.approx(1)
    for name in ("summary", "effects"):
        one, other = (getattr(each, name) for each in both)
        for low, high in RATIO_ENDS[name]:
            assert (one[low] * other[high]).to_numpy() == pytest.approx(1), (name, low)
    one, other = tables.effects, swapped.effects
    for name in ("d_z", "pooled_d", "pooled_d_hedges"):
        assert (one[name] == -other[name]).all()
    assert one["d_z_ci_lower"].to_numpy() == pytest.approx(-other["d_z_ci_upper"].to_numpy())
    assert one["p_t"].equals(other["p_t"])
    for name in ("lora", "dora", "p_adjusted", "least_p"):
        assert tables.layers[name].equals(swapped.layers[name])
    keys = ["task", "method", "seed"]
    for name in ("drift", "grids", "equal_performance", "frontier"):
        mirrored = [getattr(each, name).sort_values(keys, kind="stable") for each in both]
        pd.testing.assert_frame_equal(*(each.reset_index(drop=True) for each in mirrored))
    one, other = weights.comparison, swapped_weights.comparison
    assert (one["difference"] == -other["difference"]).all()
    assert one["p_sign_flip"].equals(other["p_sign_flip"])
    assert one["ci_lower"].to_numpy() == pytest.approx(-other["ci_upper"].to_numpy())
    sizes = [each.totals.set_index(keys)["relative_norm"].sort_index()
             for each in (weights, swapped_weights)]  # fmt: skip
    assert sizes[0].equals(sizes[1])
