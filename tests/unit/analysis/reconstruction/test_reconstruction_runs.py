"""Which planted runs ``analysis=reconstruction`` compares, and what it says of the others."""

import pandas as pd
import pytest
from planted_ladder import Planter, arm, found, plant_study, report

from loradrift.analysis.registry import make_config, run_analysis
from loradrift.config import UserError
from loradrift.runs import Status

ONE = {(8, 16, "all"): (6.5, -0.3)}


def test_one_seed_decides_nothing(tmp_path):
    plant_study(tmp_path, seeds=(1,), arms=ONE)
    row = arm(found(tmp_path).tables, 8)
    assert row["verdict"] == "undecided" and row["why"].startswith("one seed tells nothing")
    assert row["gain_low"] < 6.5 < row["gain_high"]  # over rows


def test_few_rows_leave_it_undecided(tmp_path):
    plant_study(tmp_path, arms={(8, 16, "all"): (2.5, 0.0)}, num_contexts=5)
    study = found(tmp_path)
    assert arm(study.tables, 8)["why"] == "the interval holds 2 points"
    assert study.findings["adaptation"].verdict == "undecided"


def test_a_single_lucky_seed_does_not_make_a_verdict(tmp_path):
    plant_study(tmp_path, arms={(8, 16, "all"): (4.0, 0.0)}, seed_noise=5.0)
    assert arm(found(tmp_path).tables, 8)["verdict"] == "undecided"


def test_arms_lacking_a_seed_are_compared_over_shared_ones(tmp_path):
    planter = plant_study(tmp_path, seeds=(1, 2), arms=ONE)
    planter.run("head_only", seed=3)
    study = found(tmp_path)
    assert arm(study.tables, 8)["seeds"] == "1, 2"
    assert any("alpha=16, all blocks lacks seed 3" in line for line in study.problems)


def test_runs_of_another_setting_are_named_and_left_out(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    planter.run("lora", 8, 16, "all", 1, task={"encoder": "pca"}, gain=40)
    planter.run("lora", 16, 16, "all", 1, prints={"evaluation_rows": "others"}, gain=40)
    planter.run("lora", 32, 16, "all", 1, steps=900, gain=40)
    study = found(tmp_path)
    assert len(study.compared) == 2 and arm(study.tables, 8)["gain"] < 10
    for words in ("task.encoder=pca", "fingerprint of evaluation_rows", "steps=900"):
        assert any(words in line for line in study.problems), words
    with pytest.raises(UserError, match="no finished run has this method, the methods are lora"):
        found(tmp_path, setting=["task.encoder=pca"])


def test_the_setting_of_most_arms_is_compared(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    for seed in range(1, 6):
        planter.run("head_only", seed=seed, task={"num_latents": 4})
    study = found(tmp_path)
    assert dict(study.setting)["task.num_latents"] == "16"
    chosen = found(tmp_path, setting=["task.num_latents=4"])
    assert dict(chosen.setting)["task.num_latents"] == "4"


def test_variants_that_differ_in_other_settings_of_the_method_are_arms_of_their_own(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    planter.run("lora", 8, 16, "all", 1, lr=2e-3)
    planter.run("lora", 8, 16, "all", 1, adapt="both")
    texts = [each.arm.text for each in found(tmp_path).compared]
    assert texts == [
        "frozen model",
        "LoRA r=8 alpha=16, all blocks, encoder and decoder",
        "LoRA r=8 alpha=16, all blocks (method.optim.lr=0.001)",
        "LoRA r=8 alpha=16, all blocks (method.optim.lr=0.002)",
    ]


def test_collapsed_runs_are_told_and_never_averaged(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    planter.run("lora", 8, 16, "all", 4, status=Status.COLLAPSED, alarms=2, steps=60)
    planter.run("lora", 4, 16, "all", 1, alarms=1)
    study = found(tmp_path)
    assert arm(study.tables, 8)["seeds"] == "1, 2, 3"
    assert any("seed 4" in line and "is in no mean" in line for line in study.problems)
    finding = study.findings["collapse"]
    assert finding.verdict == "alarms in 2 of 8 runs" and "seed 4: repetition 2" in finding.lines[1]
    rows = study.tables["collapse"].set_index(["arm", "seed"])
    assert rows.loc[("LoRA r=8 alpha=16, all blocks", 4), "status"] == "collapsed"
    alarms = study.tables["training"]
    assert alarms["alarm"].sum() == 3
    assert "repetition 2" in report(tmp_path, "gains")


def test_notices_of_the_records_are_shown(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    for rank in (4, 32):
        planter.run("lora", rank, 16, "all", 1, notices=["error: below no context: F1 3"])
    text = "LoRA r=4 alpha=16, all blocks, seed 1; LoRA r=32 alpha=16, all blocks, seed 1: error: "
    assert any(line.startswith(f"{text}below no context") for line in found(tmp_path).problems)


def test_notices_of_the_rates_are_shown_with_their_latents(tmp_path):
    planter = Planter(tmp_path)
    for seed in (1, 2):
        planter.run("head_only", seed=seed)
    planter.run("head_only", seed=1, task={"num_latents": 4}, notices=["error: it reads nothing"])
    assert "frozen model, 4 latents, seed 1: error: it reads nothing" in found(tmp_path).problems


def test_an_arm_of_collapsed_runs_alone_has_no_row(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    planter.run("lora", 4, 16, "all", 1, status=Status.COLLAPSED, alarms=2)
    study = found(tmp_path)
    assert len(study.compared) == 2 and len(study.runs) == 7


def test_a_baseline_of_collapsed_runs_alone_is_no_baseline(tmp_path):
    planter = Planter(tmp_path)
    planter.run("lora", 8, 16, "all", 1)
    planter.run("head_only", seed=1, status=Status.COLLAPSED, alarms=2)
    with pytest.raises(UserError, match="baseline=head_only: all runs of this method collapsed$"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"status": Status.INTERRUPTED}, "its status is interrupted: `python train.py method=lora"),
        ({"certificate": None}, "no certificate"),
        ({"files": False}, "ladder.parquet is missing"),
        ({"f1": 12.0}, "its F1 is 3"),
    ],
)
def test_a_run_that_cannot_be_used_is_named(tmp_path, options, said):
    planter = plant_study(tmp_path, arms=ONE)
    planter.run("lora", 4, 8, 2, 1, **options)
    study = found(tmp_path)
    assert len(study.compared) == 2
    assert any(said in line for line in study.problems), study.problems


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda table: table.drop(columns="bytes"), "it lacks the column bytes"),
        (lambda table: table.iloc[:-3], "not of the same rows"),
        (lambda table: table[table["rung"] != "soft_prompt"], "not of the same rows"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "stands in a rung twice"),
        (lambda table: table.assign(gold_loss=float("nan")), "not finite"),
    ],
)
def test_a_damaged_ladder_is_named(tmp_path, spoil, said):
    planter = plant_study(tmp_path, arms=ONE)
    path = planter.run("lora", 4, 8, 2, 1) / "ladder.parquet"
    spoil(pd.read_parquet(path)).to_parquet(path, index=False)
    assert any(f"ladder.parquet is damaged ({said}" in line or said in line
               for line in found(tmp_path).problems)  # fmt: skip


def test_no_parquet_at_all_is_damaged_too(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    path = planter.run("lora", 4, 8, 2, 1) / "ladder.parquet"
    path.write_bytes(b"PAR1 no more")
    assert any("ladder.parquet is damaged" in line for line in found(tmp_path).problems)


def test_a_replay_that_is_not_the_full_text_is_told(tmp_path):
    planter = plant_study(tmp_path, arms=ONE)
    for path in (tmp_path / "runs").rglob("ladder.parquet"):
        table = pd.read_parquet(path)
        table.loc[table["rung"] == "embedding_replay", "gold_loss"] += 0.1
        table.to_parquet(path, index=False)
    assert any("replay of the context's embeddings is not" in x for x in found(tmp_path).problems)
    del planter


def test_a_base_model_that_does_not_read_is_told(tmp_path):
    plant_study(tmp_path, arms=ONE)
    for path in (tmp_path / "runs").rglob("ladder.parquet"):
        table = pd.read_parquet(path)
        full, nothing = (table["rung"] == rung for rung in ("full_text", "no_context"))
        for column in ("f1", "gold_loss"):
            table.loc[full, column] = table.loc[nothing, column].to_numpy()
        table.to_parquet(path, index=False)
    assert found(tmp_path).findings["base"].verdict == "not shown"


def test_rungs_that_no_run_has_are_left_out(tmp_path):
    planter = Planter(tmp_path)
    for seed in (1, 2):
        planter.run("head_only", seed=seed, rungs=("swapped", "pca_inverse", "full_text"))
        planter.run("lora", seed=seed, rungs=("swapped", "pca_inverse", "full_text"))
    study = found(tmp_path)
    assert study.findings["latents"].verdict == "no data"
    assert study.findings["base"].verdict == study.findings["target"].verdict == "no data"
    assert study.tables["arms"]["latent_ignored"].isna().all()
    assert report(tmp_path, "ranks", "ladder").count("<figure>") == 2


def test_only_the_baseline_is_a_report_too(tmp_path):
    Planter(tmp_path).run("head_only")
    page = report(tmp_path, "gains", "ladder")
    assert "No other arm shares a seed with the frozen model" in page
    assert page.count("<figure>") == 1


def test_what_a_latent_takes_is_told_where_it_is_more_than_the_text(tmp_path):
    planter = Planter(tmp_path)
    planter.run("head_only", task={"num_latents": 64, "d_z": 64})
    finding = found(tmp_path).findings["target"]
    assert finding.verdict == "not tested"
    assert finding.why == "a latent takes 3.41 times the bytes of its text"


def test_wrong_keys_are_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no run of task=reconstruction"):
        found(tmp_path)
    planter = plant_study(tmp_path, seeds=(1,), arms={**ONE, (4, 8, 8): (0, 0)})
    with pytest.raises(UserError, match="baseline=majority: no finished run has this method"):
        found(tmp_path, baseline="majority")
    with pytest.raises(UserError, match="baseline=lora must be one arm, got 2"):
        found(tmp_path, baseline="lora")
    with pytest.raises(UserError, match=r"setting=task.num_latents=5: no run has it; .* is 16"):
        found(tmp_path, setting=["task.num_latents=5"])
    with pytest.raises(UserError, match="setting must be some of key=value, got task.num_latents"):
        found(tmp_path, setting=["task.num_latents"])
    with pytest.raises(UserError, match="baseline must be the name of a method, got ''"):
        make_config("reconstruction", keys={"baseline": ""})
    planter.run("head_only", study="second")
    with pytest.raises(UserError, match="analysis.study must be one of reconstruction, second"):
        found(tmp_path)
    with pytest.raises(UserError, match="analysis.figures must be some of ranks, gains"):
        run_analysis(make_config("reconstruction", runs=str(tmp_path / "runs"), study="second",
                                 results=str(tmp_path / "results"), figures=["nope"]))  # fmt: skip
