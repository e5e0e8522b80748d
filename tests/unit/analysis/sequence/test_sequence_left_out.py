"""What is in no whole chain, or cannot be compared, is named in a line and left out."""

import json
import shutil

import numpy as np
import pytest
from planted_chains import FULL, LAST, LORA, TWO, change, predictions, seeds_of, write_chain

from loradrift.analysis.sequence.page import report
from loradrift.analysis.sequence.sentences import diverged_lines
from loradrift.analysis.sequence.tables import tabulate
from loradrift.config import UserError
from loradrift.files import sha256_of
from loradrift.runs import read_record
from loradrift.runs.links import Link, weights_digest

DIVERGED = "the loss became nan at step 7: lower method.optim.lr"


@pytest.mark.parametrize(
    ("step", "fields", "said"),
    [
        (1, {"fingerprints": {"chain": "mrpc"}}, "chain differ from the others'"),
        (1, {"fingerprints": {"base_model": "x"}}, "base_model differ from the others'"),
        (0, {"fingerprints": {"evaluation_rows": "x"}}, "evaluation_rows differ from the others'"),
        (1, {"fingerprints": {"neutral_text": "x"}}, "neutral_text differ from the others'"),
        (1, {"fingerprints": {"train_rows": "x"}}, "train_rows differ from the others'"),
        (1, {"steps": 50}, "rows seen differ from the others'"),
        (1, {"certificate": {"passed": False, "checks": []}}, "certificate does not hold"),
        (1, {"status": "failed", "error": "no disk"}, "failed (no disk); its own command"),
        (1, {"metrics": {"earlier/rte/accuracy": None}}, "run.json has no earlier/rte/accuracy"),
        (
            1,
            {"metrics": {"evaluation/accuracy": "x"}},
            "metrics.evaluation/accuracy is absent or of",
        ),
        (1, {"start": {"chain": "rte"}}, "start.chain must be a list of coordinates"),
        (1, {"start": {"chain": [{"task": "mrpc"}]}}, "mrpc -> mrpc has a task twice: left out"),
        (
            1,
            {"start": {"chain": [{"study": "other", "task": "rte"}]}},
            "its step 1 (rte) is of study=other, and a chain has one study",
        ),
        (0, {"ended": "2026-01-02"}, "its step 1 (rte) was made again after step 2 began, which"),
    ],
)
def test_a_step_that_cannot_be_used_ends_its_chain(runs, settings, step, fields, said):
    folders = write_chain(runs, LORA, 3, order=TWO)
    for folder in folders:
        change(folder, started="2026-01-01", ended="2026-01-01")
    change(folders[step], **fields)
    write_chain(runs, FULL, 3, order=TWO)
    found = tabulate(settings(runs.parent))
    assert seeds_of(found, LORA) == [1, 2] and seeds_of(found, FULL) == [1, 2, 3]
    assert any(said in line and "\n" not in line for line in found.problems), found.problems
    assert (
        "seed=3: full_finetune has a whole chain and lora_r8 has none, so it takes no part in "
        "their comparison" in found.problems
    )


def test_other_settings_make_another_arm(runs, settings):
    folders = write_chain(runs, LORA, 3, order=TWO)
    method = json.loads((folders[1] / "run.json").read_text())["config"]["method"]
    change(folders[1], config={"method": method | {"optim": {"lr": 0.3}}})
    found = tabulate(settings(runs.parent))
    assert any("method.optim.lr differ from the others'" in line for line in found.problems)
    assert seeds_of(found, LORA) == [1, 2]


def test_an_unfinished_chain_a_missing_step_and_another_order_are_named(runs, settings):
    write_chain(runs, FULL, 3, order=TWO, until=1)
    shutil.rmtree(write_chain(runs, LORA, 4, order=TWO)[0])
    matrix = {"mrpc": {"mrpc": 0.8}, "rte": {"mrpc": 0.7, "rte": 0.7}}
    write_chain(runs, FULL, 5, order=TWO[::-1], matrix=matrix)
    found = tabulate(settings(runs.parent))
    for line in (
        "seed=3 full_finetune: no whole chain, it can be read up to step 1 of 2 (rte); if it is "
        "unfinished, its own command goes on",
        "rte -> mrpc seed=4 lora_r8: its step 1 (rte) is missing or left out; move it away if it "
        "is there, and repeat its command and those after it",
        "mrpc -> rte: another order than rte -> mrpc, so left out; order=[mrpc,rte] reports it",
    ):
        assert line in found.problems
    assert found.order == TWO and seeds_of(found, FULL) == [1, 2]
    turned = tabulate(settings(runs.parent, order=TWO[::-1]))
    assert turned.order == TWO[::-1] and seeds_of(turned, FULL) == [5]
    assert turned.tables["comparisons"].empty


def test_a_step_that_diverged_is_shown_and_ends_its_chain(runs, settings):
    last = write_chain(runs, LORA, 3, order=TWO)[1]
    change(last, status="failed", error=DIVERGED)
    found = tabulate(settings(runs.parent))
    [step] = found.diverged
    assert (step.arm, step.seed, len(step.order)) == (LORA, 3, 2)
    row = found.tables["steps"].query("diverged").iloc[0]
    assert row["error"] == DIVERGED and np.isnan(row["score"])
    assert not any("no whole chain" in line for line in found.problems)
    assert seeds_of(found, LORA) == [1, 2]


def test_a_last_step_that_diverged_in_every_chain_is_named_by_the_shorter_report(
    tmp_path, settings
):
    for arm in (FULL, LORA):
        change(write_chain(tmp_path / "runs", arm, 1)[2], status="failed", error=DIVERGED)
    own = settings(tmp_path)
    found = tabulate(own)
    assert found.order == TWO and not found.problems
    assert {(step.arm, step.order) for step in found.diverged} == {
        (FULL, (*TWO, "sst2")), (LORA, (*TWO, "sst2"))
    }  # fmt: skip
    assert found.tables["steps"].query("diverged")["task"].tolist() == ["sst2", "sst2"]
    assert f"full fine-tuning diverged at step 3 (SST-2), so its chain ends there: {DIVERGED}" in (
        " ".join(diverged_lines(found))
    )
    report(own, found)
    assert tabulate(settings(tmp_path, order=TWO)).diverged == []  # what was asked for is whole


def test_chains_that_diverged_at_their_second_step_are_named(tmp_path, settings):
    change(write_chain(tmp_path / "runs", LORA, 1, order=TWO)[1], status="failed", error=DIVERGED)
    wanted = (
        r"no whole chain: every step after the first diverged \(rte -> mrpc seed=1 .*: the loss"
    )
    with pytest.raises(UserError, match=wanted):
        tabulate(settings(tmp_path))


def test_clocks_that_differ_make_no_other_step(runs, settings):
    """The files are what the next step began with, so step 1 did not end after that."""
    first, second = write_chain(runs, LORA, 3, order=TWO)
    (first / "model").mkdir()
    (first / "model/adapter_config.json").write_text("{}")
    weights = first / "model/adapter_model.safetensors"
    weights.write_text("learned")
    digest = weights_digest(Link(first, read_record(first)), sha256_of)
    change(first, ended="2026-01-02")
    change(second, started="2026-01-01", config={"start": {"weights": digest}})
    assert seeds_of(tabulate(settings(runs.parent)), LORA) == [1, 2, 3]
    weights.write_text("learned again")
    found = tabulate(settings(runs.parent))
    assert any("step 1 (rte) was made again" in line for line in found.problems)


def test_ordinary_runs_of_the_first_task_have_no_say(runs, settings):
    """More of them than of chains, on other rows."""
    for seed in range(5, 11):
        options = {"until": 1, "by": "task=rte", "fingerprints": {"evaluation_rows": "x"}}
        write_chain(runs, FULL, seed, order=TWO, **options)
    found = tabulate(settings(runs.parent))
    assert not found.problems and seeds_of(found, FULL) == seeds_of(found, LORA) == [1, 2]


def test_a_run_whose_rows_nobody_can_count_is_left_out_alone(runs, settings):
    path = runs / LAST / "run.json"
    record = json.loads(path.read_text())
    del record["config"]["trainer"]["accumulate"]
    path.write_text(json.dumps(record))
    found = tabulate(settings(runs.parent))
    assert any("how many rows it has seen is unknown" in line for line in found.problems)
    assert seeds_of(found, LORA) == [1] and seeds_of(found, FULL) == [1, 2]


def test_losses_on_two_texts_are_not_subtracted(runs, settings):
    for folder in runs.glob("sequence/mrpc/*/seed=*"):
        change(folder, fingerprints={"neutral_text": "another"})
    found = tabulate(settings(runs.parent))
    assert sum("another neutral text than in step 1" in line for line in found.problems) == 4
    along = found.tables["along"].set_index(["arm", "step"])["neutral"]
    assert np.isfinite(along[LORA, 1]) and np.isnan(along[LORA, 2])


def test_a_baseline_that_is_lost_says_why(runs, settings):
    for folder in runs.glob("sequence/mrpc/full_finetune*/seed=*"):
        change(folder, status="failed", error=DIVERGED)
    with pytest.raises(UserError, match=r"no whole chain is of this arm, .* lora_r8 \(.*loss bec"):
        tabulate(settings(runs.parent))


def test_a_chain_of_two_arms_is_none(runs, settings):
    folders = write_chain(runs, LORA, 3, order=TWO)
    shutil.rmtree(folders[0])
    parent = write_chain(runs, FULL, 3, order=TWO)[0]
    first = json.loads((parent / "run.json").read_text())["coordinates"]
    change(folders[1], start={"chain": [first]})
    found = tabulate(settings(runs.parent))
    assert any("its step 1 (rte) is of full_finetune seed=3, and a chain has one arm" in line
               for line in found.problems)  # fmt: skip


def test_predictions_of_other_rows_cost_the_interval_over_rows_alone(runs, settings):
    end = runs / "sequence/mrpc/lora,after=rte/seed=1"
    predictions(end / "chain/rte", 0.67, rows=100)
    change(end, metrics={"earlier/rte/accuracy": 0.67})
    found = tabulate(settings(runs.parent))
    assert any("is of other rows than the task's own; no interval over the rows of rte" in line
               for line in found.problems)  # fmt: skip
    summary = found.tables["summary"].set_index(["arm", "measure"])
    assert np.isnan(summary.loc[(LORA, "backward_transfer"), "rows_low"])
    assert np.isfinite(summary.loc[(FULL, "backward_transfer"), "rows_low"])


def test_nothing_to_analyse_is_one_line(runs, settings, tmp_path):
    with pytest.raises(
        UserError, match=r"order=\[mrpc,sst2\]: no .* order=\[rte\]; order=\[rte,mrpc\]"
    ):
        tabulate(settings(runs.parent, order=["mrpc", "sst2"]))
    with pytest.raises(UserError, match="baseline=dora_r8: no whole chain is of this arm, .* full"):
        tabulate(settings(runs.parent, baseline="dora_r8"))
    assert tabulate(settings(runs.parent, baseline="lora")).baseline == LORA
    with pytest.raises(UserError, match=r"order must name each task once, got \[rte,rte\]"):
        settings(runs.parent, order=["rte", "rte"])
    alone = tmp_path / "alone"
    write_chain(alone / "runs", FULL, 1, until=1)
    with pytest.raises(UserError, match="no chain of tasks: `python train.py study=sequence -m`"):
        tabulate(settings(alone))
    for folder in write_chain(alone / "runs", FULL, 2, order=TWO)[:1]:
        shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"no whole chain rte -> mrpc: .* step 1 \(rte\) is miss"):
        tabulate(settings(alone))
