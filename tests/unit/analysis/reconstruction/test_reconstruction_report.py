"""``analysis=reconstruction`` on planted runs: what is found, and what the files say."""

import json

import pandas as pd
import pytest
from planted_ladder import ARMS, BASELINE_F1, F1, LOSS, Planter, arm, config, found, plant_study

from loradrift.analysis.reconstruction.sections import headline
from loradrift.analysis.reconstruction.tables import tabulate
from loradrift.analysis.registry import make_config, run_analysis


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("reconstruction")
    planter = plant_study(root)
    for latents in (4, 8, 32, 64):
        planter.run("head_only", task={"num_latents": latents})
    return root


@pytest.fixture(scope="module")
def study(world):
    return found(world)


@pytest.fixture(scope="module")
def results(world):
    run_analysis(config(world))
    return world / "results" / "reconstruction"


def test_planted_gains_are_recovered_with_their_classes(study):
    verdicts = {(4, 8): "none", (8, "all"): "significant", (16, "all"): "strong"}
    for (rank, alpha, layers), (gain, loss_gain) in ARMS.items():
        row = arm(study.tables, rank, layers)
        assert row["alpha"] == alpha and row["seeds"] == "1, 2, 3"
        assert row["gain_low"] < gain < row["gain_high"]
        assert row["loss_gain_low"] < loss_gain < row["loss_gain_high"]
        assert row["wide_low"] <= row["gain_low"] and row["gain_high"] <= row["wide_high"]
        assert row["verdict"] == verdicts[rank, layers], row
        # pairing takes away what rows share
        assert row["gain_high"] - row["gain_low"] < row["f1_high"] - row["f1_low"]
    assert study.findings["adaptation"].verdict == "strong"
    assert study.best.arm.text == "LoRA r=16 alpha=32, all blocks"
    assert arm(study.tables, 8)["gold_loss_is"] == "lower"


def test_the_ladder_is_the_planted_one(study):
    table = study.tables["ladder"].set_index(["rung", "arm"])
    for rung, f1 in F1.items():
        row = table.loc[(rung, "")]
        assert row["f1_low"] < f1 < row["f1_high"]
        assert row["gold_loss_low"] < LOSS[rung] < row["gold_loss_high"]
    assert table.loc[("full_text", ""), "share"] == pytest.approx(1)
    soft = table.loc[("soft_prompt", "frozen model")]
    assert soft["share_low"] < BASELINE_F1 / F1["full_text"] < soft["share_high"]
    assert soft["f1_over_nothing_low"] > 15
    assert study.findings["base"].verdict == "supported"
    assert not [line for line in study.problems if "replay" in line or "disagree" in line]


def test_bytes_are_the_axis_of_the_rate(study):
    rate = study.tables["rate"]
    soft = rate[(rate["rung"] == "soft_prompt") & (rate["arm"] == "frozen model")]
    assert list(soft["num_latents"]) == [4, 8, 16, 32, 64]
    assert list(soft["bytes"]) == [64, 128, 256, 512, 1024]
    assert soft["f1"].is_monotonic_increasing and soft["gold_loss"].is_monotonic_decreasing
    assert list(soft["compression"]) == pytest.approx([1200 / b for b in soft["bytes"]])
    cut = rate[rate["rung"] == "truncated_bytes"]
    assert list(cut["bytes"]) == [63, 127, 255, 511, 1023]
    assert study.compression == pytest.approx(1200 / 256)
    assert study.findings["target"].verdict == "reached"  # 47 of 60 points


def test_what_adapting_costs_the_model_stands_beside(study):
    table = study.tables["arms"]
    frozen, adapted = table[table["method"] == "head_only"], table[table["method"] == "lora"]
    assert frozen["cka"].tolist() == pytest.approx([1.0], abs=1e-6)
    assert adapted["cka"].between(0.9, 0.9999).all()


def test_everything_is_written(results):
    saved = json.loads((results / "reconstruction.json").read_text())
    assert saved["baseline"] == "frozen model" and saved["num_contexts"] == 60
    row = next(each for each in saved["comparisons"] if each["rank"] == 16)
    assert (row["alpha"], row["layers"], row["verdict"]) == (32, "all", "strong")
    assert row["gain_low"] < 13 < row["gain_high"] and row["at_least"] is False
    assert saved["findings"]["latents"]["verdict"] == "read by every run"
    for name in ("arms", "ladder", "rate", "training", "collapse", "cka", "examples"):
        assert len(pd.read_parquet(results / f"{name}.parquet"))
    report = (results / "report.html").read_text()
    assert report.count("<figure>") == 6
    places = [report.index(f'<h2 id="{name}') for name in (
        "arms", "ladder", "rate", "training", "collapse", "drift", "examples")]  # fmt: skip
    assert places == sorted(places)
    assert "The text of q" in report and "cka" in report.lower()


def test_three_examples_are_drawn_before_their_answers_are_seen(study, world):
    table = study.tables["examples"]
    assert len(table) == 3
    row = table.iloc[0]
    number = row["text"].removeprefix("The text of q").removesuffix(", in full.")
    assert row["gold"] == f"q{number} | the q{number}"
    assert row["full text"] == f"full_text {number}" and row["no context"] == f"no_context {number}"
    assert row["frozen model"] == f"soft_prompt {number}"
    again = make_config("reconstruction", runs=str(world / "runs"), seed=5,
                        results=str(world / "results"))  # fmt: skip
    assert set(tabulate(again).tables["examples"]["text"]) != set(table["text"])


def test_the_answer_names_both_arms_and_the_verdict(study):
    text = headline(study)
    assert text.startswith("From 4.69 times fewer bytes than the text, the frozen model reaches F1")
    assert "(no context 10, full text 60)" in text
    assert "Best of 3 adapted arms: LoRA r=16 alpha=32, all blocks, +1" in text
    assert text.endswith("gain? strong: LoRA r=16 alpha=32, all blocks.")


def test_swapped_baseline_mirrors_every_difference(tmp_path):
    """The other arm as the baseline: gain and loss change places."""
    planter = Planter(tmp_path)
    for seed in (1, 2, 3):
        planter.run("head_only", seed=seed)
        planter.run("lora", 8, 16, "all", seed, gain=-7.5, loss_gain=0.2)
    there, back = found(tmp_path), found(tmp_path, baseline="lora")
    [one] = [each for each in there.compared if each.gain is not None]
    [two] = [each for each in back.compared if each.gain is not None]
    for name in ("gain", "wide", "loss_gain"):
        own, other = getattr(one, name), getattr(two, name)
        assert own.estimate == pytest.approx(-other.estimate)
        assert (own.low, own.high) == pytest.approx((-other.high, -other.low))
    assert (one.effect, one.loss) == (two.loss, two.effect)
    assert one.effect.verdict == "none" and one.loss.verdict == "significant"
    assert "none (a loss: significant)" in headline(there)
    assert back.findings["adaptation"].verdict == "significant"


def test_ignored_latents_and_results_below_no_context_are_flagged(tmp_path):
    planter = Planter(tmp_path)
    for seed in (1, 2, 3):
        planter.run("head_only", seed=seed)
        planter.run("lora", 8, 16, 2, seed, gain=-30.0, loss_gain=2.0, swapped=0.0)
    study = found(tmp_path)
    row = arm(study.tables, 8, 2)
    assert row["latent_ignored"] and row["below_no_context"]
    frozen = study.tables["arms"].iloc[0]
    assert not frozen["latent_ignored"] and not frozen["below_no_context"]
    finding = study.findings["latents"]
    assert finding.verdict == "ignored by 3 of 6 runs" and "2 blocks, seed 1" in finding.why
    assert row["seeds_ignoring"] == "1, 2, 3" and frozen["seeds_ignoring"] == ""
    assert any("below no context" in line for line in finding.lines)
    assert "The latents are ignored by 3 of 6 runs: what these answer" in headline(study)


def test_seeds_that_read_their_latents_unequally_are_not_flagged(tmp_path):
    """The interval over two such seeds holds 0; each of them reads its latents all the same."""
    planter = Planter(tmp_path)
    for seed, gap in ((1, 3.0), (2, 30.0)):
        planter.run("head_only", seed=seed)
        planter.run("lora", 8, 16, 2, seed, swapped=gap)
    row = arm(found(tmp_path).tables, 8, 2)
    assert row["swapped_f1_low"] < 0 < row["swapped_f1"]
    assert not row["latent_ignored"] and row["seeds_ignoring"] == ""
    assert "ignored" not in headline(found(tmp_path))
