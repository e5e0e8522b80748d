"""What cannot be compared is named and left out, and what leaves nothing to compare is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from planted_frontier import FROZEN, FULL, LORA, write_arm, write_point

from loradrift.analysis.frontier import points
from loradrift.analysis.frontier.points import mean_drift
from loradrift.analysis.frontier.sentences import comparison_text
from loradrift.analysis.frontier.tables import tabulate
from loradrift.config import UserError


def change(folder, **fields):
    path = folder / "run.json"
    record = json.loads(path.read_text())
    for name, value in fields.items():
        record[name] = record[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"fingerprints": {"evaluation_rows": "x"}}, "evaluation_rows differ from the others'"),
        ({"fingerprints": {"metric": "f1"}}, "metric differ from the others'"),
        ({"fingerprints": {"train_rows": "x"}}, "train_rows differ from the others'"),
        ({"steps": 50}, "rows seen differ from the others'"),
        ({"certificate": {"passed": False, "checks": []}}, "certificate does not hold"),
        ({"status": "running"}, "still going; it is analysed when it has finished"),
        ({"status": "failed", "error": "no disk"}, "failed (no disk); its own command repeats it"),
    ],
)
def test_a_run_that_cannot_be_compared_is_named_and_left_out(tmp_path, settings, fields, said):
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2))
    write_arm(tmp_path / "runs", LORA, seeds=(1, 2))
    odd = write_point(tmp_path / "runs", LORA, 5.0, 2, score=0.85, drift=0.1)
    change(odd, **fields)
    found = tabulate(settings(tmp_path))
    assert 5.0 not in set(found.tables["points"]["rate"])
    assert any(said in line for line in found.problems), found.problems


@pytest.mark.parametrize("text", [None, "", '{"id": "r/0", "label": 0, "prediction": 0}\n'])
def test_an_arm_that_cannot_be_judged_is_named_and_held_against_the_same_constant(
    tmp_path, settings, text
):
    for arm in (FULL, LORA):
        for rate, score in ((0.01, 0.44), (0.1, 0.47)):  # the best constant answer has 0.5
            for seed in (1, 2):
                folder = write_point(
                    tmp_path / "runs", arm, rate, seed, score=score + seed / 100, drift=rate
                )
        predictions = folder / "predictions.jsonl"
        predictions.unlink()
        if text is not None:
            predictions.write_text(text)
    found = tabulate(settings(tmp_path))
    assert found.tables["learned"]["baseline"].tolist() == [0.5, 0.5]
    assert found.tables["learned"]["learned"].isna().all()
    for arm in (FULL, LORA):
        said = f"sst2: {arm} is not judged against the best constant answer: "
        assert any(line.startswith(said) and "predictions.jsonl" in line for line in found.problems)
    [row] = found.compared
    assert row["verdict"] == "no accuracy that both reach" and np.isnan(row["drift"])
    assert "not above the best constant answer, 0.5" in comparison_text(found, row)


def test_another_alpha_is_another_arm(tmp_path, settings):
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2))
    write_arm(tmp_path / "runs", LORA, seeds=(1, 2))
    odd = write_point(tmp_path / "runs", LORA, 5.0, 2, score=0.85, drift=0.1)
    method = json.loads((odd / "run.json").read_text())["config"]["method"] | {"alpha": 3.0}
    change(odd, config={"method": method})
    found = tabulate(settings(tmp_path))
    [line] = [each for each in found.problems if "sst2" in each]
    assert line.startswith(
        "sst2 seed=2 lora_r8 at rate 5: method.alpha differ from the others': not"
    )


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (
            "lora_r64",
            "baseline=lora_r64: no run is of this arm, the arms are dora_r8, full_finetune",
        ),
        (FROZEN, "baseline=head_only: its backbone is frozen and drifts nowhere"),
        (
            "dora_r8",
            r"sst2: dora_r8 has one learning rate \(0.1\), and a frontier takes at least t",
        ),
    ],
)
def test_a_baseline_that_cannot_be_one_is_refused(tmp_path, settings, baseline, message):
    for rate in (0.1, 1.0):
        write_point(tmp_path / "runs", FULL, rate, 1, score=0.8, drift=0.2)
    write_point(tmp_path / "runs", FROZEN, 0.1, 1, score=0.6, drift=0.0)
    write_point(tmp_path / "runs", "dora_r8", 0.1, 1, score=0.8, drift=0.2)
    with pytest.raises(UserError, match=message):
        tabulate(settings(tmp_path, baseline=baseline))
    found = tabulate(settings(tmp_path))
    assert any("dora_r8 has one learning rate (0.1)" in line for line in found.problems)
    assert set(found.tables["rates"]["arm"]) == {FULL, FROZEN}


def test_a_missing_baseline_says_why_it_is_missing(tmp_path, settings):
    for rate in (0.1, 1.0):
        for seed in (1, 2):
            write_point(tmp_path / "runs", LORA, rate, seed, score=0.8, drift=0.2)
        odd = write_point(tmp_path / "runs", FULL, rate, 1, score=0.8, drift=0.2)
        change(odd, fingerprints={"evaluation_rows": "x"})
    message = r"no run is of this arm, the arms are lora_r8 \(sst2 seed=1 full_finetune at rate .*"
    with pytest.raises(UserError, match=message + "evaluation_rows differ from the others'"):
        tabulate(settings(tmp_path))


def test_where_every_run_diverged_one_line_names_the_rates(tmp_path, settings):
    for arm, rate in ((FULL, 0.1), (FULL, 1.0), (LORA, 0.1), (LORA, 1.0)):
        write_point(
            tmp_path / "runs", arm, rate, 1, score=0.5, drift=0.2, error="the loss became nan"
        )
    message = r"every run diverged \(full_finetune at 0.1, 1; lora_r8 at 0.1, 1\), so nothing can"
    with pytest.raises(UserError, match=message):
        tabulate(settings(tmp_path))


def test_a_rate_that_diverged_with_another_budget_is_no_rate_of_this_frontier(tmp_path, settings):
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2))
    write_arm(tmp_path / "runs", LORA, seeds=(1, 2))
    for rate, steps in ((5.0, 100), (7.0, 900)):
        odd = write_point(
            tmp_path / "runs", LORA, rate, 1, score=0.5, drift=0.2, error="the loss became nan"
        )
        task = json.loads((odd / "run.json").read_text())["config"]["task"]
        change(odd, config={"task": task | {"max_steps": steps}})
    found = tabulate(settings(tmp_path))
    assert {5.0} == {*found.tables["points"]["rate"]} & {5.0, 7.0}
    assert any("at rate 7: rows seen differ" in line for line in found.problems)


def test_a_damaged_start_costs_its_own_run_alone(tmp_path, settings):
    """Whichever it is: the first one of all is the one that others are held against."""
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2))
    write_arm(tmp_path / "runs", LORA, seeds=(1, 2))
    folder = sorted(tmp_path.glob("runs/*/*/full*/seed=1"))[0]
    dump = next(path for path in sorted((folder / "activations").rglob("*")) if "0" in path.name)
    dump.write_bytes(bytes(dump.stat().st_size))
    found = tabulate(settings(tmp_path))
    assert len(found.tables["points"]) == 15
    [refused, lacks] = [line for line in found.problems if "sst2" in line]
    assert "full_finetune at rate" in refused
    assert lacks.startswith("sst2 seed=1 full_finetune: no run at rate ")


def test_a_run_without_variance_is_shown_and_has_no_drift(tmp_path, settings, monkeypatch):
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2))
    write_arm(tmp_path / "runs", LORA, seeds=(1, 2))

    def collapsed(run, cache):
        return np.nan if "lr=0.1" in str(run.folder) and run.seed == 2 else mean_drift(run, cache)

    monkeypatch.setattr(points, "mean_drift", collapsed)
    found = tabulate(settings(tmp_path))
    table = found.tables["points"]
    assert len(table) == 16 and table["drift"].isna().sum() == 2
    assert table.loc[table["drift"].isna(), "score"].notna().all()
    assert sum("a layer has no variance" in line for line in found.problems) == 2
    assert found.compared[0]["num_seeds"] == 2


def test_an_arm_without_variance_at_any_rate_collapsed(tmp_path, settings, monkeypatch):
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2))
    write_arm(tmp_path / "runs", LORA, seeds=(1, 2))

    def collapsed(run, cache):
        return np.nan if "lora" in str(run.folder) else mean_drift(run, cache)

    monkeypatch.setattr(points, "mean_drift", collapsed)
    found = tabulate(settings(tmp_path))
    [row] = found.compared
    assert comparison_text(found, row).startswith("LoRA r=8 diverged or collapsed at every rate")


def test_nothing_to_analyse_is_one_line(tmp_path, settings):
    folder = write_point(tmp_path / "runs", FULL, 0.1, 1, score=0.8, drift=0.2)
    change(folder, status="interrupted", error="interrupted")
    with pytest.raises(UserError, match=r"holds no finished run that trains \(.*interrupted"):
        tabulate(settings(tmp_path))


def test_tables_hold_their_columns_where_nothing_can_be_compared(tmp_path, settings):
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2))
    found = tabulate(settings(tmp_path))
    assert found.compared == [] and isinstance(found.tables["parts"], pd.DataFrame)


def test_of_several_studies_the_frontier_is_meant(tmp_path, settings):
    for study in ("frontier", "drift"):
        for arm in (FULL, LORA):
            write_arm(tmp_path / "runs", arm, seeds=(1,), study=study)
    assert tabulate(settings(tmp_path)).study == "frontier"
    (tmp_path / "runs/frontier").rename(tmp_path / "runs/look")
    with pytest.raises(UserError, match="analysis.study must be one of drift, look, got null"):
        tabulate(settings(tmp_path))
