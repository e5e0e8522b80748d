"""Adapters with random factors: others for every seed, and with the effect of a trained one."""

import pytest
import torch
from adapter_cases import load_adapter, load_base, write_adapter
from export_cases import logits

from loradrift.adapters import read_files
from loradrift.config import UserError
from loradrift.diagnose.made_up_inputs import made_up_inputs
from loradrift.serving.export import draw_adapter
from loradrift.serving.export_drawn import EFFECT
from loradrift.weights import norm


def effect(base, adapter) -> float:
    """How far an adapter moves the last hidden states of a few texts, relative to their norm."""
    ids = made_up_inputs(str(base), load_base(base))["input_ids"]
    options = {"input_ids": ids, "output_hidden_states": True}
    with torch.no_grad():
        off = load_base(base)(**options).hidden_states[-1]
        on = load_adapter(adapter, base)(**options).hidden_states[-1]
    return float((on - off).norm() / off.norm())


def test_every_seed_gives_another_adapter_and_the_same_one_again(model_folder, tmp_path):
    def draw(name, seed):
        return draw_adapter(model_folder, tmp_path / name, rank=2, seed=seed, name="drawn")

    one, again, other = draw("a", 1), draw("b", 1), draw("c", 2)
    assert one.sha256 == again.sha256 and one.digest == again.digest != other.digest
    a, b = (logits(load_base(each.merged)) for each in (one, other))
    assert (a - b).abs().max() > 0.05
    assert (one.drawn, one.rank, one.name, one.task) == (True, 2, "drawn", None)
    assert one.label == "drawn (random factors)" and one.source == one.adapter


@pytest.mark.parametrize("size", [0.05, 0.2])
def test_its_effect_is_that_of_a_trained_one(size, model_folder, tmp_path):
    like = write_adapter(tmp_path / "like", model_folder, size=size)
    found = draw_adapter(model_folder, tmp_path / "a", like=like, rank=4, seed=1, name="x")
    assert effect(model_folder, found.adapter) == pytest.approx(
        effect(model_folder, like), rel=0.06
    )
    trained, drawn = read_files(like), read_files(found.adapter)
    assert trained.parts.keys() == drawn.parts.keys()
    sizes = [[norm(x.factors(key).low_rank) for key in drawn.parts] for x in (drawn, trained)]
    ratios = [mine / its for mine, its in zip(*sizes, strict=True)]
    assert max(ratios) == pytest.approx(min(ratios), rel=1e-4)  # one factor for all modules


def test_without_one_to_be_like_it_takes_all_linear_layers(model_folder, tmp_path):
    found = draw_adapter(model_folder, tmp_path / "a", rank=4, seed=1, name="x")
    drawn = read_files(found.adapter)
    assert len(drawn.parts) == 14
    targets = drawn.config["target_modules"]
    assert len(targets) == 14 and targets == sorted(targets)  # the same file in every process
    assert effect(model_folder, found.adapter) == pytest.approx(EFFECT, rel=0.06)


@pytest.mark.parametrize("rank", [0, 513])
def test_a_rank_that_vllm_does_not_take_is_refused(rank, model_folder, tmp_path):
    with pytest.raises(UserError, match=f"rank must be from 1 to 512, got {rank}"):
        draw_adapter(model_folder, tmp_path / "a", rank=rank, seed=1, name="x")


def test_what_is_there_already_is_kept_and_has_a_folder_of_its_own(
    model_folder, tmp_path, monkeypatch
):
    first = draw_adapter(model_folder, tmp_path / "a", rank=2, seed=1, name="x")
    monkeypatch.setattr("loradrift.serving.export_drawn.VERSION", -1)  # a later version's
    later = draw_adapter(model_folder, tmp_path / "a", rank=2, seed=1, name="x")
    assert later.adapter != first.adapter and later.sha256 == first.sha256
    monkeypatch.undo()
    monkeypatch.setattr("loradrift.serving.export_drawn.write_drawn", None)
    assert draw_adapter(model_folder, tmp_path / "a", rank=2, seed=1, name="x") == first
