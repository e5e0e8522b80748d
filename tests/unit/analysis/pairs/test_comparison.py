"""Scores against one text at a time through transformers and PEFT; the report; the warning."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from loradrift.analysis.pairs.comparison import compare_pairs, comparison_json
from loradrift.analysis.pairs.reading import read_pairs
from loradrift.analysis.registry import make_config, run_analysis
from loradrift.config import UserError

RNG = np.random.default_rng(0)


def one_by_one(pairs, model, tokenizer) -> list[float]:
    """The cosines, without padding, batches or our code."""

    def embed(text: str) -> np.ndarray:
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
        return states[0, 1:].double().numpy().mean(0)

    sides = [(embed(pair.text1), embed(pair.text2)) for pair in pairs]
    return [float(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in sides]


def report(tmp_path, pairs, adapter, base=None) -> None:
    keys = {"pairs": str(pairs), "adapter": str(adapter), "base": base}
    run_analysis(make_config("pairs", keys=keys, results=str(tmp_path / "results")))


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_scores_are_those_of_transformers_and_peft(pairs_file, adapter, model_folder, options):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = adapter(**options)
    found = compare_pairs(pairs_file, str(folder), None, RNG)
    pairs = read_pairs(pairs_file)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder).eval()
    baseline = one_by_one(pairs, model, tokenizer)
    adapted = one_by_one(pairs, PeftModel.from_pretrained(model, folder).eval(), tokenizer)
    assert found.scores["baseline"].tolist() == pytest.approx(baseline, abs=1e-6)
    assert found.scores["adapter"].tolist() == pytest.approx(adapted, abs=1e-6)
    assert np.abs(np.subtract(baseline, adapted)).max() > 1e-3
    assert found.scores["baseline"].iloc[3] == pytest.approx(1, abs=1e-12)  # the same text twice


def test_an_adapter_of_the_inner_model_is_the_same_adapter(pairs_file, adapter, model_folder):
    outer, inner = adapter(name="outer"), adapter(name="inner", inner=True)
    for folder in (outer, inner):
        compare_pairs(pairs_file, str(folder), None, RNG)
    first, second = (
        compare_pairs(pairs_file, str(folder), str(model_folder), RNG).scores
        for folder in (outer, inner)
    )
    pd.testing.assert_frame_equal(first, second)


def test_padding_and_batching_leave_scores_alone(pairs_file, adapter, tmp_path):
    folder = adapter()
    whole = compare_pairs(pairs_file, str(folder), None, RNG).scores
    header, *lines = pairs_file.read_text().splitlines()
    for number, line in enumerate(lines):
        pairs_file.write_text(f"{header}\n{line}\n")
        alone = compare_pairs(pairs_file, str(folder), None, RNG).scores
        for name in ("baseline", "adapter"):
            assert alone[name].iloc[0] == pytest.approx(whole[name].iloc[number], abs=1e-6)


def test_the_report_is_a_table_two_files_and_no_warning(pairs_file, adapter, tmp_path, capsys):
    report(tmp_path, pairs_file, adapter())
    said = capsys.readouterr()
    assert said.err == "" and "Cosine scores of 4 text pairs" in said.out
    for words in ("base model", "with adapter", "Spearman", "ROC-AUC", "so accuracies are optimi"):
        assert words in said.out
    facts = json.loads((tmp_path / "results/pairs.json").read_text())
    assert facts["metrics_identical"] is False and facts["num_pairs"] == 4
    assert facts["majority_accuracy"] == 0.5 and facts["baseline"]["notes"] == []
    assert facts["adapter"].keys() == facts["baseline"].keys()
    assert facts["certificate"]["passed"] is True and facts["model_kind"] == "causal LM"
    assert facts["loading_path"] == "on the model"
    assert "(causal LM), loaded on the model: the adapter is applied" in said.out
    drawn = facts["intervals"]
    assert (drawn["confidence"], drawn["num_resamples"]) == (0.95, 2000)
    assert facts["difference"].keys() == drawn["difference"].keys() == drawn["adapter"].keys()
    pearson = facts["adapter"]["pearson"] - facts["baseline"]["pearson"]
    assert facts["difference"]["pearson"] == pytest.approx(pearson)
    low, high = drawn["difference"]["accuracy"]
    assert low <= facts["difference"]["accuracy"] <= high and "95 % interval" in said.out
    counts = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert sum(facts["adapter"][name] for name in counts) == 4
    table = pd.read_csv(tmp_path / "results/pairs.csv")
    assert list(table.columns) == ["line", "label", "baseline", "adapter"]
    assert table["line"].tolist() == [2, 3, 4, 5] and (table["baseline"] != table["adapter"]).any()


def test_an_adapter_that_changes_nothing_is_warned_of(pairs_file, adapter, tmp_path, capsys):
    folder = adapter(moved=False)
    report(tmp_path, pairs_file, folder)
    first, line = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: the adapter is loaded, but its certificate does not hold: ")
    assert "lora_B: B is zero in 4 of 4 modules" in first
    assert line.startswith("warning: the metrics of both models are identical to the last digit")
    assert "the adapter changed nothing; `python analyze.py " in line
    assert f"analysis=diagnose adapter={folder} base=" in line
    facts = json.loads((tmp_path / "results/pairs.json").read_text())
    assert facts["metrics_identical"] and facts["scores_identical"]
    assert facts["certificate"]["passed"] is False


def test_the_command_of_the_warning_can_be_typed(pairs_file, adapter, tmp_path, capsys):
    folder = adapter(moved=False, name="lora,task.max_steps=3")
    report(tmp_path, pairs_file, folder)
    assert f"analysis=diagnose 'adapter=\"{folder}\"' base=" in capsys.readouterr().err


def test_labels_that_cannot_tell_are_no_false_alarm(pairs_file, adapter, tmp_path, capsys):
    pairs_file.write_text("text1,text2,label\nno,yes,3\nthe film,the film was great,3\n")
    report(tmp_path, pairs_file, adapter())
    said = capsys.readouterr()
    assert "these pairs cannot tell them apart" in said.err and "diagnose" not in said.err
    assert "note: labels are constant: no correlation is defined" in said.out
    facts = json.loads((tmp_path / "results/pairs.json").read_text())
    assert facts["adapter"]["spearman"] is None and facts["adapter"]["true_positives"] is None
    assert facts["majority_accuracy"] is None and not facts["scores_identical"]


def test_texts_past_the_models_positions_are_cut_and_counted(pairs_file, adapter, tmp_path, capsys):
    pairs_file.write_text(f"text1,text2,label\n{'the film ' * 99},no,1\nyes,no,0\n")
    report(tmp_path, pairs_file, adapter())
    assert "note: 1 text is longer than the model takes and was cut" in capsys.readouterr().out


def test_the_generator_draws_the_samples_and_nothing_else(pairs_file, adapter):
    folder = adapter()
    header, *lines = pairs_file.read_text().splitlines()
    pairs_file.write_text("\n".join([header, *lines * 5]))
    found = [
        comparison_json(compare_pairs(pairs_file, str(folder), None, np.random.default_rng(seed)))
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1]
    assert found[0]["intervals"] != found[2]["intervals"]
    assert found[0]["adapter"] == found[2]["adapter"]


def test_pairs_that_share_a_text_are_counted(pairs_file, adapter, tmp_path, capsys):
    with pairs_file.open("a") as file:
        file.write("no,the film,1\n")
    report(tmp_path, pairs_file, adapter())
    assert "note: 3 of 5 pairs have a text that another pair has too" in capsys.readouterr().out


def test_a_text_of_special_tokens_is_named(pairs_file, adapter, tmp_path):
    pairs_file.write_text("text1,text2,label\nyes,no,1\nyes,</s>,0\n")
    with pytest.raises(UserError, match=r"pairs.csv, line 3: a text holds special tokens only"):
        report(tmp_path, pairs_file, adapter())
