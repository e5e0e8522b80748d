"""The first screen: one sentence that says what it rests on, in one spelling of each task."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypotheses import HYPOTHESES, Outcome
from loradrift.analysis.drift.hypothesis_data import for_readers, outcome_table
from loradrift.analysis.drift.ratio_figures import draw_hypotheses
from loradrift.analysis.drift_report.answer import answer, cards, rests_on
from loradrift.analysis.labels import spelt, task_labels, with_labels
from loradrift.report.verdicts import Verdict, apart
from loradrift.runs import TASK_LABELS, RunRecord

H1, H2, H3 = HYPOTHESES
REFUTED = Outcome(
    hypothesis=H2, verdict=Verdict.REFUTED, ratio=2.0, ratio_lower=1.5, ratio_upper=2.7,
    verdict_lower=1.2, verdict_upper=3.1, p=0.996, p_opposite=0.004, num_seeds=3,
    task_ratios={"SST-2": 4.0, "RTE": 1.0},
)  # fmt: skip
LOGS = {"SST-2": [1.3, 1.4, 1.5], "RTE": [-0.1, 0.0, 0.1]}


def found(*, unlearned=(), logs=LOGS, **columns):
    """The tables that the first screen reads."""
    rows = [(task, seed, x) for task, own in logs.items() for seed, x in enumerate(own, start=1)]
    reduction = pd.DataFrame(rows, columns=["task", "seed", "log_ratio"])
    runs = pd.concat([reduction.assign(method=name) for name in Arms.of().names])
    made = {
        "data": "embedded", "model": "tiny", "parameters": 1_004_418, "train_rows": 7500,
        "evaluation_rows": 800, "probe_rows": 256, "learning_rate": 0.002, "searched": False,
        "versions": "torch 2", "changed_code": True, "ended": "2026-11-29T09:53:55+00:00",
        "commit": "6b04f8afd9a2cd51", "device": "cpu",
    }  # fmt: skip
    summary = [
        {"task": task, "seeds": len(own), "ratio": np.exp(np.mean(own)),
         "ratio_lower_any_text": 0.5, "ratio_upper_any_text": 9.0}
        for task, own in logs.items()
    ]  # fmt: skip
    learned = [(task, name, task not in unlearned) for task in logs for name in Arms.of().names]
    budget = pd.DataFrame({"steps": [300], "rows_seen": [9600.0], "epochs": [1.28]})
    return SimpleNamespace(
        arms=Arms.of(), reduction=reduction, runs=runs.assign(**(made | columns)), budget=budget,
        summary=pd.DataFrame(summary),
        learned=pd.DataFrame(learned, columns=["task", "method", "learned"]).astype(
            {"learned": "boolean"}
        ),
    )  # fmt: skip


def test_the_answer_is_one_sentence_with_its_interval_and_what_it_rests_on():
    assert answer(found(), [REFUTED]) == (
        "On generated data and a 1 M-parameter model, LoRA drifts 2 times as far as full "
        "fine-tuning (95 % interval 1.5 to 2.7; 3 seeds, 2 tasks): H2 refuted."
    )
    said = answer(found(data="local", model="SmolLM2-135M", parameters=134_515_008), [REFUTED])
    assert said.startswith("On data from local files and SmolLM2-135M (135 M parameters), LoRA")
    mixed = found(data=["embedded", "hub"] * 6)
    assert "On generated data and data from the Hugging Face hub and" in answer(mixed, [REFUTED])


def test_where_tasks_disagree_each_has_its_ratio_and_no_mean_is_said():
    said = answer(found(), [replace(REFUTED, tasks_disagree=True, verdict=Verdict.UNDECIDED)])
    assert "the tasks disagree, so no mean is given" in said and "H2 undecided" in said
    assert "drifts 4.06 times as far as full fine-tuning on SST-2 (95 % interval 0.5 to 9;" in said
    assert ", 1 times on RTE (" in said and " 2 times" not in said
    [card] = cards([replace(REFUTED, tasks_disagree=True)]).cards
    assert "SST-2 4, RTE 1" in card.lines[0] and "1.5 to 2.7" not in " ".join(card.lines)
    [row] = outcome_table([replace(REFUTED, tasks_disagree=True)]).to_dict("records")
    assert (row["ratio"], row["95 % interval"]) == ("SST-2 4, RTE 1", "-")


def test_what_was_not_learned_is_named_and_takes_no_part():
    said = answer(found(unlearned=["RTE"]), [REFUTED])
    assert "3 seeds, 1 task)" in said
    assert said.endswith("Not learned, and without a part in it: RTE.")
    none = answer(found(unlearned=["RTE", "SST-2"]), [replace(REFUTED, ratio=None)])
    assert "no task was learned" in none and "times as far" not in none


def test_without_a_seed_of_all_tasks_or_with_one_there_is_no_interval():
    logs = {"SST-2": [1.0, np.nan], "RTE": [np.nan, 0.5]}
    tables = found(logs=logs)
    tables.reduction = tables.reduction.dropna()
    unknown = Outcome(hypothesis=H2, verdict=Verdict.UNDECIDED, note="no pair of RTE seed=1")
    assert "no seed has every task, so no mean is given" in answer(tables, [unknown])
    assert cards([unknown]).cards[0].lines == ["no pair of RTE seed=1"]
    single = replace(REFUTED, ratio_lower=None, ratio_upper=None)
    said = answer(found(logs={"SST-2": [0.7]}), [single])
    assert "(no interval; 1 seed, 1 task)" in said


def test_what_the_answer_rests_on():
    facts = dict(rests_on(found()).rows)
    assert facts["Data"] == "generated data: SST-2, RTE"
    assert facts["Rows"] == "7,500 to train on, 800 to evaluate on, 256 in the probe"
    assert facts["Seeds"] == "3 (1, 2, 3)"
    assert facts["Recipe"].startswith("300 steps (1.3 epochs), 32 rows a step; full fine-tuning: ")
    assert "LoRA: learning rate 0.002 (not searched)" in facts["Recipe"]
    assert facts["Made with"] == "torch 2, commit 6b04f8afd9, with changes"
    assert facts["Made"] == "2026-11-29, cpu"
    nothing = dict.fromkeys(
        ("data", "train_rows", "evaluation_rows", "probe_rows", "learning_rate", "versions",
         "ended", "commit", "device", "model", "parameters"), None,
    )  # fmt: skip
    bare = rests_on(found(**nothing))
    assert "nan" not in str(bare).lower() and "None" not in str(bare)
    said = answer(found(**nothing), [REFUTED])
    assert said.startswith("On data of unknown origin and a model without a name, LoRA drifts 2 ")


def test_a_card_has_the_verdicts_own_p_and_no_data_no_card():
    none = Outcome(hypothesis=H3, verdict=Verdict.NO_DATA, note="no results")
    [refuted] = cards([REFUTED, none]).cards
    assert refuted.verdict == "refuted" and "p = 0.004; a verdict takes 0.005" in refuted.lines
    supported = replace(REFUTED, verdict=Verdict.SUPPORTED, p=1e-5)
    assert "p < 0.001; a verdict takes 0.005" in cards([supported]).cards[0].lines


def test_hypotheses_without_data_are_not_drawn(tmp_path):
    none = Outcome(hypothesis=H3, verdict=Verdict.NO_DATA)
    assert draw_hypotheses([none], tmp_path) is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [1, 2, 5, 12])
def test_no_dot_hides_another_or_the_mean(number):
    heights, size = apart(number)
    assert len(heights) == number and heights.min() >= 0.06  # the mean is above the row
    gaps = np.diff(heights) * 0.6 * 72
    assert (gaps >= size - 1e-9).all() and heights.max() <= 0.45


def record(source, task="mrpc", label=None, **facts):
    config = {"data": {"name": source}, "task": {"metric": "accuracy"}}
    written = facts | ({"label": label} if label else {})
    return RunRecord(coordinates={"task": task}, config=config, task=written)


@pytest.mark.parametrize("task", TASK_LABELS)
def test_generated_rows_never_pass_for_others(task):
    assert record("embedded", task).task_label == f"{TASK_LABELS[task]}-like (generated)"
    assert record("local", task).task_label == record("hub", task).task_label == TASK_LABELS[task]
    assert record("embedded", "toy", "Toy NLI").task_label == "Toy NLI-like (generated)"
    assert record("embedded", "pretrain", "pretraining", head=False).task_label == (
        "pretraining (generated)"
    )


def test_each_task_has_one_spelling_of_its_own():
    runs = pd.DataFrame({"task": ["a", "a", "b", "mrpc"], "task_label": ["X", "Y", "Z", None]})
    assert task_labels(runs) == {"a": "X and Y", "b": "Z", "mrpc": "MRPC"}
    same = pd.DataFrame({"task": ["a", "b"], "task_label": ["X", "X"]})
    assert task_labels(same) == {"a": "X, a", "b": "X, b"}
    shown = with_labels(pd.DataFrame({"task": ["all", "a, b"]}), {"a": "X", "b": "Z"})
    assert list(shown["task"]) == ["all", "X, Z"]
    both = with_labels(runs.tail(1), {"mrpc": "MRPC"})
    assert both[["task", "typed"]].values.tolist() == [["MRPC", "mrpc"]]


def test_lines_name_tasks_alike_and_commands_stay_as_typed():
    line = "weights of mrpc seed=1: `train.py task=mrpc seed=1` /runs/drift/mrpc/lora; mrpc seed=2"
    assert spelt(line, {"mrpc": "MRPC", "c": "C"}) == (
        "weights of MRPC seed=1: `train.py task=mrpc seed=1` /runs/drift/mrpc/lora; MRPC seed=2"
    )
    [outcome] = for_readers([replace(REFUTED, task_ratios={"mrpc": 2.0}, note=line)], {"mrpc": "M"})
    assert outcome.task_ratios == {"M": 2.0} and outcome.note.startswith("weights of M seed=1")
