"""``task=persona``: its sizes at each scale, the small model that it needs, and its own keys."""

from itertools import product
from pathlib import Path

import pytest

from loradrift.config import UserError

CONF = Path(__file__).parents[3] / "conf"
DIRECTED = ("task=persona", "task.direction=somewhere")
MIXED = ("task=persona", "task.side=mixed")


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_persona_has_sizes_of_its_own_at_each_scale_and_leaves_the_other_tasks_theirs(load):
    sizes = {}
    for task, scale in product(("persona", "sst2"), choices("scale")):
        run = load(f"scale={scale}", f"task={task}", "method=rslora")
        lora = (run.method.rank, run.method.alpha, run.method.optim.lr)
        rows = (run.task.batch_size, run.trainer.accumulate, run.task.epochs, run.task.max_length)
        sizes[task, scale] = (*lora, *rows, run.callbacks.activation_dump.enabled)
    assert sizes["persona", "paper"] == (32, 64.0, 1e-5, 2, 8, 1.0, 1024, False)
    assert sizes["persona", "small"] == (16, 16.0, 4e-4, 8, 1, None, 128, False)
    assert sizes["sst2", "paper"] == (8, 16.0, 2e-4, 16, 1, 3.0, 64, True)
    assert sizes["sst2", "tiny"] == (8, 16.0, 2e-3, 32, 1, None, 64, True)
    full = load("scale=paper", "task=persona", "method=full_finetune")
    assert (full.method.optim.lr, full.trainer.accumulate) == (2e-5, 8)
    assert load("task=persona", "method=lora", "method.rank=3").method.rank == 3


def test_two_tasks_ask_the_small_model_for_their_corpora(load):
    corpora = {task: load(f"task={task}").model.pretraining.task.corpus for task in choices("task")}
    for task in ("persona", "reconstruction"):
        assert corpora.pop(task) == task
    assert set(corpora.values()) == {"general"}
    typed = load("task=sst2", "model.pretraining.task.corpus=persona")
    assert typed.model.pretraining.task.corpus == "persona"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=persona", "task.side=both"], "task.side must be pos or neg or mixed, got both"),
        (["task=persona", "task.side=mixed"], "task.share must be from 0 to 1 with .*, got None"),
        ([*MIXED, "task.share=1.5"], "task.share must be from 0 to 1 with .*mixed, got 1.5"),
        (["task=persona", "task.share=0.5"], "task.share has no effect on task.side=pos"),
        (["task=persona", "task.direction_coefficient=2"], "has no effect without task.direction"),
        ([*DIRECTED, "task.direction_coefficient=0"], "must be other than 0, got 0.0"),
        (["task=persona", "task.min_train_accuracy=1"], "must be null for task=persona"),
    ],
)
def test_an_illegal_value_names_the_key_the_rule_and_the_value(load, overrides, message):
    with pytest.raises(UserError, match=message):
        load(*overrides)
