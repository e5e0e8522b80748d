"""The report: what it says, and that every figure, table and file is there."""

import json
import shutil

import pytest
from matplotlib.collections import LineCollection
from planted_chains import FULL, LORA, change, write_chain

from loradrift.analysis.sequence.along_figures import ratio_scale
from loradrift.analysis.sequence.figures import SEQUENCE, scores_of
from loradrift.analysis.sequence.page import report
from loradrift.analysis.sequence.sentences import flips_text
from loradrift.analysis.sequence.tables import tabulate
from loradrift.config import UserError
from loradrift.report.style import canvas

DIVERGED = "the loss became inf at step 3: lower method.optim.lr"


@pytest.fixture(scope="module")
def reported(tmp_path_factory, folder, settings):
    """A report with a chain that diverged; what was printed, and its folder."""
    place = tmp_path_factory.mktemp("report")
    shutil.copytree(folder / "runs", place / "runs")
    change(write_chain(place / "runs", LORA, 9)[2], status="failed", error=DIVERGED)
    own, lines = settings(place), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda text, **_: lines.append(text))
        report(own, tabulate(own))
    return place / "results/sequence", lines


def test_the_answer_names_transfer_comparisons_verdicts_and_seeds(reported):
    folder, lines = reported
    answer = json.loads((folder / "sequence.json").read_text())["answer"]
    assert answer in lines
    assert answer in (folder / "report.html").read_text().replace("&gt;", ">")
    assert answer.startswith("After RTE -> MRPC -> SST-2 backward transfer is -6.83 points with fu")
    assert "LoRA r=8 against full fine-tuning: backward transfer +5 points (" in answer
    assert "), more backward transfer, it keeps more of earlier tasks; forgetting on neu" in answer
    assert "), less forgetting; drift from the first model 0.611 times (" in answer
    assert answer.endswith(
        "less drift. Model planted, data local, seeds 1, 2, 3; 95 % intervals over seeds."
    )


def test_the_terminal_says_over_what_each_interval_is(reported):
    _, lines = reported
    [line] = [line for line in lines if line.startswith("  backward transfer: LoRA r=8 minus full")]
    assert "points (95 % over 3 seeds " in line and ", over evaluated rows " in line
    said = f"seed=9: LoRA r=8 diverged at step 3 (SST-2), so its chain ends there: {DIVERGED}"
    assert f"note: {said}" in lines


def test_the_page_shows_every_figure_and_what_diverged(reported):
    folder, _ = reported
    page = (folder / "report.html").read_text()
    assert "diverged at step 3 (SST-2)" in page
    assert {path.stem for path in (folder / "figures").glob("*.svg")} == SEQUENCE.keys()
    assert page.count("<figure>") == len(SEQUENCE)
    svg = (folder / "figures/score_matrix.svg").read_text()
    for text in ("3: SST-2", "70.3", "LoRA r=8"):
        assert text in svg
    assert "best constant answer" in (folder / "figures/scores_along.svg").read_text()


def test_numbers_are_plain_json_and_tables_lie_beside_them(reported):
    folder, _ = reported
    found = json.loads((folder / "sequence.json").read_text())
    assert (found["order"], found["baseline"]) == (["rte", "mrpc", "sst2"], FULL)
    assert {row["verdict"] for row in found["comparisons"]} <= {"less", "more", "undecided"}
    tables = ("steps", "seeds", "matrix", "layers", "learned", "summary", "along", "comparisons")
    for name in tables:
        assert (folder / f"{name}.csv").is_file() and (folder / f"{name}.parquet").is_file()


def test_what_an_arm_did_not_learn_is_said(tmp_path, settings, capsys):
    matrix = {"rte": {"rte": 0.52}, "mrpc": {"rte": 0.50, "mrpc": 0.80}}
    for arm in (FULL, LORA):
        write_chain(tmp_path / "runs", arm, 1, order=("rte", "mrpc"), matrix=matrix)
    own = settings(tmp_path, figures=["transfer"])
    report(own, tabulate(own))
    out = capsys.readouterr().out
    assert "note: LoRA r=8 was not shown to have learned RTE in its own step (its interval" in out
    assert "Model planted, data local, seed 1; no interval over seeds." in out
    assert "backward transfer: nothing is compared, no earlier task was learned by both arms" in out


@pytest.mark.parametrize("arm", [FULL, "head_only"])
def test_one_arm_alone_has_a_whole_report(tmp_path, settings, capsys, arm):
    sizes = {"rte": 0.0, "mrpc": 0.0} if arm == "head_only" else None
    for seed in (1, 2):
        write_chain(tmp_path / "runs", arm, seed, order=("rte", "mrpc"), sizes=sizes)
    own = settings(tmp_path, baseline=arm, figures=["along", "drift_matrix", "layer_profiles"])
    report(own, tabulate(own))
    assert "No other arm to compare with" in capsys.readouterr().out


def test_seeds_that_agree_are_not_counted_by_the_test():
    row = {"num_seeds": 3, "num_differ": 2, "p": 0.5, "least_p": 0.5}
    assert flips_text(row) == "sign-flip p = 0.5 (2 of 3 seeds differ, which reach 0.5 at least)"
    one = {"num_seeds": 1, "num_differ": 1, "p": 1.0, "least_p": 1.0}
    assert flips_text(one) == "sign-flip p = 1 (one seed reaches 1 at least)"


def test_unknown_figures_are_refused(found, settings, tmp_path):
    with pytest.raises(UserError, match="analysis.figures must be some of score_matrix, drift_m"):
        report(settings(tmp_path, figures=["frontier"]), found)


def test_the_last_task_shows_the_range_of_its_seeds(found):
    seeds = found.tables["seeds"]
    with canvas(1) as (_, [axes]):
        scores_of(axes, found, "sst2")
        ranges = [c for c in axes.collections if isinstance(c, LineCollection)]
        drawn = [tuple(x.get_segments()[0][:, 1]) for x in ranges]
    own = seeds[seeds["task"] == "sst2"].groupby("arm")["score"]
    assert sorted(drawn) == sorted(zip(own.min(), own.max(), strict=True))
    with canvas(1) as (_, [axes]):
        scores_of(axes, found, "rte")  # a band, over three steps
        assert not any(isinstance(c, LineCollection) for c in axes.collections)


@pytest.mark.parametrize(
    ("ends", "ticks"),
    [((0.0078, 19), [0.01, 0.1, 1, 10]), ((0.73, 1.33), [0.8, 1, 1.2]), ((0.3, 3), [0.5, 1, 2])],
)
def test_the_scale_of_ratios_has_ticks_on_both_sides_of_one(ends, ticks):
    with canvas(1) as (_, [axes]):
        axes.plot([1, 1], ends)
        ratio_scale(axes)
        low, high = axes.get_ylim()
        assert [tick for tick in axes.get_yticks() if low <= tick <= high] == pytest.approx(ticks)
