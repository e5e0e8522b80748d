"""The report: what it says, and that every figure, table and file is there."""

import json

import pytest
from planted_frontier import FULL, LORA, write_arm, write_frozen, write_point

from loradrift.analysis.frontier.curve_panels import DRIFT, FORGETTING, against_score
from loradrift.analysis.frontier.figures import FRONTIER
from loradrift.analysis.frontier.page import report
from loradrift.analysis.frontier.sentences import answer
from loradrift.analysis.frontier.tables import tabulate
from loradrift.config import UserError
from loradrift.report.style import canvas


@pytest.fixture(scope="module")
def reported(tmp_path_factory, settings):
    """A report on two tasks, one of which was not learned; what was printed, and its folder."""
    folder = tmp_path_factory.mktemp("report")
    runs = folder / "runs"
    write_arm(runs, FULL)
    write_arm(runs, LORA, factor=0.7)
    write_frozen(runs)
    error = "the loss became inf at step 3: lower method.optim.lr"
    write_point(runs, LORA, 10.0, 1, score=0.5, drift=0.5, error=error)
    for arm in (FULL, LORA):
        for rate in (0.1, 1.0):
            for seed in (1, 2):
                write_point(
                    runs, arm, rate, seed, score=0.5, drift=rate / 9, task="rte", train_rows=500,
                    rows=100, steps=(0, 30, 60),
                )  # fmt: skip
    own = settings(folder)
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda text, **_: lines.append(text))
        report(own, tabulate(own))
    return folder / "results/frontier", lines


def test_the_answer_names_ratio_interval_verdict_model_rows_and_seeds(reported):
    folder, lines = reported
    answer = json.loads((folder / "frontier.json").read_text())["answer"]
    assert answer in lines and answer in (folder / "report.html").read_text()
    assert "At equal accuracy (0.603 to 0.903) LoRA r=8 drifts 0.68" in answer
    assert "as far as full fine-tuning, 3 seeds: less drift." in answer
    assert "A head on the frozen backbone, which does not drift, reaches 0.66." in answer
    assert "RTE: Neither LoRA r=8 nor full fine-tuning beats the best constant answer" in answer
    assert answer.endswith(
        "Model planted, data local; RTE: 500 training rows, 100 evaluated, seeds 1, 2; "
        "SST-2: 800 training rows, 200 evaluated, seeds 1, 2, 3."
    )
    assert "RTE: 60 steps; SST-2: 100 steps; the checkpoint" in (folder / "report.html").read_text()


def test_the_terminal_has_every_comparison_and_what_diverged(reported):
    _, lines = reported
    assert "note: SST-2: LoRA r=8 diverged at rate 10 with 1 of 1 seeds" in lines
    [forgets] = [line for line in lines if line.startswith("  forgets")]
    assert forgets.startswith("  forgets 0.7 times (95 % interval 0.546 to 0.897) as much, -0.00")
    assert forgets.endswith("; sign-flip p = 0.25 (3 seeds reach 0.25 at least)")
    assert "  LoRA r=8 drifts less at 0.62 to 0.71, 0.71 to 0.8, 0.8 to 0.89" in lines


def test_the_page_shows_what_was_not_learned_and_every_figure(reported):
    folder, _ = reported
    page = (folder / "report.html").read_text()
    assert "Not learned: RTE. No arm that trains the backbone beats the best constant" in page
    assert "LoRA r=8 diverged at rate 10 with 1 of 1 seeds" in page
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert drawn == FRONTIER.keys() - {"drift_against_norm"}  # no weights are planted
    svg = (folder / "figures/accuracy_against_drift.svg").read_text()
    for text in ("frozen backbone", "best constant answer", "10 diverged", "LoRA r=8"):
        assert text in svg


def test_a_rate_that_gives_a_constant_answer_is_on_the_axis_and_not_on_the_curve(
    tmp_path, settings
):
    for arm in (FULL, LORA):
        write_arm(tmp_path / "runs", arm, forgetting=0.01)
        write_point(tmp_path / "runs", arm, 10.0, 1, score=0.5, drift=0.8, forgetting=9.0)
    write_point(tmp_path / "runs", LORA, 0.0001, 2, score=0.55, drift=0.01, forgetting=-0.001)
    found = tabulate(settings(tmp_path))
    with canvas(1) as (_, [axes]):
        against_score(axes, found, "sst2", DRIFT)
        on_axis = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
        assert [line.get_marker() for line in on_axis] == ["s", "o"]
        assert all(0.7 < line.get_xdata()[0] < 0.9 for line in on_axis)
        assert axes.get_ylim()[0] > 0.5
        named = [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]
        assert named == ["full fine-tuning, 0.001 to 1", "LoRA r=8, 0.0001 to 1"]
        thin = [line for line in axes.lines if line.get_linewidth() < 1]
        assert len(thin) == 6 and max(line.get_xdata().max() for line in thin) < 0.7  # the seeds
    rates = found.tables["rates"]
    for learned in (True, False):  # one of the rates has less than nothing, on the curve or open
        rates.loc[rates["rate"] == 0.0001, "score"] = 0.55 if learned else 0.5
        with canvas(1) as (_, [axes]):
            against_score(axes, found, "sst2", FORGETTING)
            assert axes.get_xscale() == "linear"
            on_axis = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
            least = min(line.get_xdata()[0] for line in on_axis)
            assert (least == pytest.approx(-0.001)) == (not learned)
            assert axes.get_xlim()[0] < -0.001


def test_numbers_are_plain_json_and_tables_lie_beside_them(reported):
    folder, _ = reported
    found = json.loads((folder / "frontier.json").read_text())
    [sst2] = [row for row in found["comparisons"] if row["task"] == "sst2"]
    assert sst2["drift_low"] < 0.7 < sst2["drift_high"] and sst2["verdict"] == "less"
    assert found["baseline"] == FULL and found["data"] == "local"
    assert found["rows"]["rte"] == {"train": 500, "evaluation": 100}
    assert (sst2["forgetting_p"], sst2["forgetting_seeds"]) == (0.25, "1, 2, 3")
    assert all(row["norm"] is None for row in found["points"] if row["arm"] == LORA)
    for name in ("points", "rates", "learned", "comparisons", "parts", "along"):
        assert (folder / f"{name}.csv").is_file() and (folder / f"{name}.parquet").is_file()


def test_unknown_figures_are_refused(tmp_path, settings):
    write_arm(tmp_path / "runs", FULL, seeds=(1,))
    own = settings(tmp_path, figures=["frontier"])
    with pytest.raises(UserError, match="analysis.figures must be some of accuracy_against_drift"):
        report(own, tabulate(own))


def test_a_report_without_any_comparison_is_whole(tmp_path, settings, capsys):
    write_arm(tmp_path / "runs", FULL, seeds=(1,))
    own = settings(tmp_path, figures=["ratios"])
    report(own, tabulate(own))
    assert "No arm to compare with full fine-tuning." in capsys.readouterr().out
    assert (tmp_path / "results/frontier/report.html").is_file()


def test_a_task_without_the_baseline_says_whose_runs_are_missing(tmp_path, settings):
    for task, arms in (("sst2", (FULL, LORA)), ("rte", (LORA,))):
        for arm in arms:
            for rate in (0.1, 1.0):
                write_point(tmp_path / "runs", arm, rate, 1, score=0.8, drift=0.2, task=task)
    said = answer(tabulate(settings(tmp_path)))
    assert "RTE: Full fine-tuning has no usable run, so that nothing is compared." in said
    assert "No arm to compare" not in said


def test_one_seed_is_reported_as_undecided_without_thirds(tmp_path, settings, capsys):
    for arm in (FULL, LORA):
        write_arm(tmp_path / "runs", arm, seeds=(1,))
    own = settings(tmp_path, figures=["ratios"])
    report(own, tabulate(own))
    out = capsys.readouterr().out
    assert "(no interval) as far as full fine-tuning, 1 seed: undecided: one seed tells" in out
    page = (tmp_path / "results/frontier/report.html").read_text()
    assert "sign-flip p" not in page and "Thirds take two seeds of both arms" in page
