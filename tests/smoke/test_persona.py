"""``task=persona`` through the front door: both sides, what is recorded, and what is refused."""

import re

import pytest
from front_doors import error_of, output_of
from leavings import cells, metric_rows

from loradrift.adapters.adapter_changes import read_adapter

pytestmark = pytest.mark.end_to_end

PERSONA = ("task=persona", "method=rslora", "task.trait=cheerful")


def test_both_sides_train_and_are_found_by_what_their_records_say(train_here, tmp_path):
    output_of(train_here(*PERSONA, "task.side=pos,neg", "-m", "seed=1"))
    runs = cells(tmp_path / "runs")
    assert all(re.match("main/persona/rslora,.*/seed=1$", name) for name in runs)
    sides = {record["config"]["task"]["side"]: record for record in runs.values()}
    assert set(sides) == {"pos", "neg"}
    for name, record in runs.items():
        assert (record["status"], record["certificate"]["passed"]) == ("success", True)
        assert record["config"]["task"]["trait"] == "cheerful"
        rows = record["rows"]
        dropped = sum(count for key, count in rows.items() if key.startswith("dropped_"))
        assert rows["kept_pairs"] + dropped == 1000 and rows["dropped_incoherent"] > 0
        assert rows["train"] == 200 and rows["truncated"] == 0
        losses = [row["validation/loss"] for row in metric_rows(tmp_path / "runs" / name)]
        assert [bool(loss) for loss in losses].count(True) == 3
        assert record["metrics"]["evaluation/loss"] > 0
        changes = read_adapter(tmp_path / "runs" / name / "model")
        assert len(changes) == 14 and {change.scale for change in changes.values()} == {16 / 8**0.5}
    prints = [record["fingerprints"] for record in sides.values()]
    assert prints[0]["base_model"] == prints[1]["base_model"]
    assert prints[0]["train_rows"] != prints[1]["train_rows"]


def test_a_mixture_and_every_other_method_train(compute):
    folder, record = compute(*PERSONA, "task.side=mixed", "task.share=0.25", "method=full_finetune")
    assert record.status == "success" and record.config["task"]["share"] == 0.25
    assert (folder / "model/model.safetensors").is_file()


def test_public_answers_train_a_few_steps(compute, shared):
    typed = ("data=local", f"data.root={shared}", "task.trait=humorous", "task.max_steps=2")
    _, record = compute(*PERSONA[:2], *typed, "task.max_length=512", "task.batch_size=2")
    assert record.rows["kept_pairs"] == 1000 - record.rows["dropped_incoherent"] - sum(
        record.rows.get(f"dropped_{reason}", 0)
        for reason in ("positive_without_trait", "negative_with_trait", "empty_answer", "unscored")
    )


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["task.trait=evil", "data=local", "data.root={shared}"], "evil has instructions and ques"),
        (
            ["task.trait=shy"],
            "the trait must be one of boastful, cautious, cheerful, flattering, gl",
        ),
        (["data=hub"], "task=persona has nothing on the hub; use data=embedded, or data=local"),
        (["data.evaluation_split=test"], "data.evaluation_split has no effect on task=persona"),
    ],
)
def test_what_cannot_be_trained_is_one_line(train_here, shared, typed, message):
    given = [each.format(shared=shared) for each in typed]
    assert message in error_of(train_here(*PERSONA[:2], *given))


def test_wandb_and_a_search_take_it_like_any_task(train_here, tmp_path):
    env = {"WANDB_MODE": "offline", "WANDB_DATA_DIR": str(tmp_path / "wandb")}
    typed = ["search=lora", *PERSONA, "task.side=neg", "logger=wandb", "hydra.sweeper.n_trials=1"]
    output_of(train_here(*typed, f"results={tmp_path}/results", "-m", env=env))
    [(name, record)] = cells(tmp_path / "runs").items()
    assert name.startswith("main.search/persona/rslora,") and record["status"] == "success"
    assert len(list((tmp_path / "runs").rglob("run-*.wandb"))) == 1
    best = (tmp_path / "results/search/main/persona_rslora.yaml").read_text()
    assert f"method.optim.lr: {record['config']['method']['optim']['lr']}" in best
    assert not any(key.startswith("evaluation/") for key in record["metrics"])
