"""What leaves the scores alone; the report; the warning."""

import json

import pandas as pd
import pytest
from transformers import AutoModel

from loradrift.analysis.pairs.page import comparison_json
from loradrift.analysis.registry import run_analysis


@pytest.fixture
def report(settings, tmp_path, capsys):
    """Compare an adapter with its base; give what was printed, and ``pairs.json``."""

    def run(adapter):
        run_analysis(settings(adapter))
        return capsys.readouterr(), json.loads((tmp_path / "results/pairs.json").read_text())

    return run


def test_an_adapter_of_the_inner_model_is_the_same_adapter(compare, adapter, model_folder):
    outer, inner = adapter(name="outer"), adapter(name="inner", kind=AutoModel)
    for folder in (outer, inner):
        compare(folder)
    first, second = (compare(folder, model_folder).scores for folder in (outer, inner))
    pd.testing.assert_frame_equal(first, second)


def test_the_report_is_a_table_two_files_and_no_warning(report, adapter, tmp_path):
    said, found = report(adapter())
    assert said.err == "" and "Cosine scores of 4 text pairs" in said.out
    for words in ("base model", "with adapter", "Spearman", "ROC-AUC", "so accuracies are optimi"):
        assert words in said.out
    assert found["metrics_identical"] is False and found["num_pairs"] == 4
    assert found["majority_accuracy"] == 0.5 and found["baseline"]["notes"] == []
    assert found["adapter"].keys() == found["baseline"].keys()
    assert found["certificate"]["passed"] is True and found["model_kind"] == "causal LM"
    assert found["loading_path"] == "on the model"
    assert "(causal LM), loaded on the model: the adapter is applied" in said.out
    drawn = found["intervals"]
    assert (drawn["confidence"], drawn["num_resamples"]) == (0.95, 2000)
    assert found["difference"].keys() == drawn["difference"].keys() == drawn["adapter"].keys()
    pearson = found["adapter"]["pearson"] - found["baseline"]["pearson"]
    assert found["difference"]["pearson"] == pytest.approx(pearson)
    low, high = drawn["difference"]["accuracy"]
    assert low <= found["difference"]["accuracy"] <= high and "95 % interval" in said.out
    counts = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert sum(found["adapter"][name] for name in counts) == 4
    table = pd.read_csv(tmp_path / "results/pairs.csv")
    assert list(table.columns) == ["line", "label", "baseline", "adapter"]
    assert table["line"].tolist() == [2, 3, 4, 5] and (table["baseline"] != table["adapter"]).any()


def test_an_adapter_that_changes_nothing_is_warned_of(report, adapter):
    folder = adapter(moved=False)
    said, found = report(folder)
    first, line = said.err.splitlines()
    assert first.startswith("warning: the adapter is loaded, but its certificate does not hold: ")
    assert "lora_B: B is zero in 4 of 4 modules" in first
    assert line.startswith("warning: the metrics of both models are identical to the last digit")
    assert "the adapter changed nothing; `python analyze.py " in line
    assert f"analysis=diagnose adapter={folder} base=" in line
    assert found["metrics_identical"] and found["scores_identical"]
    assert found["certificate"]["passed"] is False
    folder = adapter(moved=False, name="lora,task.max_steps=3")  # a command that can be typed
    assert f"analysis=diagnose 'adapter=\"{folder}\"' base=" in report(folder)[0].err


def test_labels_that_cannot_tell_are_no_false_alarm(report, pairs_file, adapter):
    pairs_file.write_text("text1,text2,label\nno,yes,3\nthe film,the film was great,3\n")
    said, found = report(adapter())
    assert "these pairs cannot tell them apart" in said.err and "diagnose" not in said.err
    assert "note: labels are constant: no correlation is defined" in said.out
    assert found["adapter"]["spearman"] is None and found["adapter"]["true_positives"] is None
    assert found["majority_accuracy"] is None and not found["scores_identical"]


def test_texts_that_are_cut_or_shared_are_named(report, pairs_file, adapter):
    folder = adapter()
    pairs_file.write_text(f"text1,text2,label\n{'the film ' * 99},no,1\nyes,the film,0\nno,a,0\n")
    said = report(folder)[0].out
    assert "note: 1 text is longer than the model takes and was cut" in said
    assert "note: 2 of 3 pairs have a text that another pair has too" in said
    pairs_file.write_text("text1,text2,label\nyes,no,1\nno,</s>,0\n")
    # the name of a special token is a text, and has a cosine
    assert "note: 2 of 2 pairs have a text that another pair has too" in report(folder)[0].out


def test_the_generator_draws_the_samples_and_nothing_else(compare, pairs_file, adapter):
    folder = adapter()
    header, *lines = pairs_file.read_text().splitlines()
    pairs_file.write_text("\n".join([header, *lines * 5]))
    found = [comparison_json(compare(folder, seed=seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0]["intervals"] != found[2]["intervals"]
    assert found[0]["adapter"] == found[2]["adapter"]
