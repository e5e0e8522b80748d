"""The logged projection is that of the weights' whole change, and measuring changes nothing."""

import shutil

import pytest
import torch
from changes import low_rank
from direction_cases import write_direction
from dumping import Crash, Reseed, Task, fit
from pytorch_lightning.loggers.logger import Logger

from loradrift.callbacks.persona_monitor import PersonaMonitor, read_directions
from loradrift.callbacks.resume_point import ResumePoint
from loradrift.config import LoraConfig, UserError
from loradrift.methods import make_trainable

NAMES = [f"model.layers.{layer}.self_attn.{kind}_proj" for layer in (0, 1) for kind in "qo"]
DIRECTIONS = {
    "kind/seed_1": {name: low_rank(32, 32, 2, seed=i) for i, name in enumerate(NAMES)},
    "rude/seed_1": {NAMES[0]: low_rank(32, 32, 3, seed=9, scale=5.0)},
}


class Kept(Logger):
    """What was logged, in order."""

    name, version = "kept", "0"

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def log_hyperparams(self, *_, **__):
        pass


def whole(backbone) -> dict[str, torch.Tensor]:
    """The weights in use, whatever they are made of."""
    found = {}
    for name in NAMES:
        layer = backbone.causal_lm.get_submodule(name)
        found[name] = getattr(layer, "base_layer", layer).weight.detach().double()
        if hasattr(layer, "lora_A"):
            found[name] = found[name] + layer.get_delta_weight("default").detach().double()
    return found


def expected(before, after) -> dict[str, float]:
    """Dense inner products."""
    found = {}
    for trait, changes in DIRECTIONS.items():
        dense = {name: x.scale * x.B_OR @ x.A_RI for name, x in changes.items()}
        product = sum(float(((after[name] - before[name]) * L).sum()) for name, L in dense.items())
        length = sum(float((L**2).sum()) for L in dense.values()) ** 0.5
        found[f"persona/{trait}"] = product / length
    return found


def watched(tmp_path, method, *callbacks, every=2, **options):
    logger = Kept()
    monitor = PersonaMonitor(DIRECTIONS, every)
    task = Task(method)
    before = whole(task.backbone)
    fit(task, tmp_path, [Reseed(), monitor, *callbacks], logger=[logger], **options)
    return task, before, [row for row in logger.rows if "persona/kind/seed_1" in row[1]]


@pytest.mark.parametrize("method", ["full_finetune", "lora"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_logs_the_projection_of_the_change_since_step_0(tmp_path, method, accumulate):
    task, before, rows = watched(tmp_path, method, accumulate=accumulate)
    assert [step for step, _ in rows] == [0, 2, 4, 5]
    assert rows[0][1] == dict.fromkeys(rows[0][1], 0.0)
    last = rows[-1][1]
    assert last == pytest.approx(expected(before, whole(task.backbone)), rel=1e-4, abs=1e-9)
    assert all(abs(value) > 1e-3 for value in last.values())


def test_dora_s_magnitudes_count(tmp_path):
    task = Task()
    dora = LoraConfig(name="dora", rank=2, dora=True, target_modules=["q_proj", "o_proj"])
    make_trainable(task.backbone, dora, seed=0)
    before = whole_dora(task.backbone)
    logger = Kept()
    fit(task, tmp_path, [Reseed(), PersonaMonitor(DIRECTIONS, 5)], logger=[logger])
    rows = [row for row in logger.rows if "persona/kind/seed_1" in row[1]]
    after = whole_dora(task.backbone)
    assert rows[-1][1] == pytest.approx(expected(before, after), rel=1e-3)


def whole_dora(backbone) -> dict[str, torch.Tensor]:
    """What each adapted layer multiplies its input with: its outputs for the unit vectors."""
    found = {}
    for name in NAMES:
        layer = backbone.causal_lm.get_submodule(name).eval()
        with torch.no_grad():
            found[name] = layer(torch.eye(32)).T.double()
        layer.train()
    return found


@pytest.mark.parametrize("method", ["full_finetune", "lora"])
def test_training_is_the_same_with_and_without_it(tmp_path, method):
    seen = watched(tmp_path, method, every=1)[0].state_dict()
    unseen = fit(Task(method), tmp_path, [Reseed()]).state_dict()
    assert all(torch.equal(seen[name], unseen[name]) for name in unseen)


def test_a_resumed_run_measures_from_the_same_origin(tmp_path):
    whole_rows = watched(tmp_path, "lora", every=1)[2]
    path = tmp_path / "last.ckpt"
    with pytest.raises(KeyError, match="the power went"):
        watched(tmp_path, "lora", ResumePoint(path, 1), Crash(2), every=1)
    rows = watched(tmp_path, "lora", every=1, ckpt_path=path)[2]
    assert [step for step, _ in rows] == [2, 3, 4, 5]
    for found, wanted in zip(rows, whole_rows[-4:], strict=True):
        assert found[1] == pytest.approx(wanted[1], rel=1e-9)


def test_a_module_that_the_model_lacks_is_refused(tmp_path):
    with pytest.raises(UserError, match="direction a changes layers.7.q_proj, which the model"):
        fit(Task(), tmp_path, [PersonaMonitor({"a": {"layers.7.q_proj": low_rank()}}, 1)])


def test_the_interval_is_positive():
    with pytest.raises(UserError, match="persona_monitor.every_n_steps must be positive, got 0"):
        PersonaMonitor(DIRECTIONS, 0)


def test_directions_are_found_below_a_folder(tmp_path):
    for trait in ("kind", "rude"):
        write_direction(tmp_path / "main" / trait / "seed=1", trait=trait, seed=1)
    found = read_directions(str(tmp_path / "main"), "f" * 64)
    assert list(found) == ["kind/seed_1", "rude/seed_1"]
    assert list(read_directions(str(tmp_path / "main/rude/seed=1"), "f" * 64)) == ["rude/seed_1"]
    with pytest.raises(UserError, match="kind/seed=1 is a direction of the base model with digest"):
        read_directions(str(tmp_path), "e" * 64)
    shutil.copytree(tmp_path / "main", tmp_path / "other")
    with pytest.raises(UserError, match="holds two directions of kind seed=1"):
        read_directions(str(tmp_path), "f" * 64)
    with pytest.raises(UserError, match="directions must be a folder of directions, got nowhere"):
        read_directions("nowhere", "f" * 64)
