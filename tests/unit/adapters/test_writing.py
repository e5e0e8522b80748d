"""What is written is what PEFT adds, at any coefficient, and what every reader reads."""

import os
import stat

import pytest
import torch
from adapter_cases import (
    forward,
    judged,
    load_adapter,
    load_base,
    lora_layers,
    write_adapter,
)
from changes import low_rank, merged_change

from loradrift.adapters import read_adapter, read_files
from loradrift.adapters.writing import relative_error, write_low_rank
from loradrift.config import UserError
from loradrift.generation.vllm_rules import check_adapter
from loradrift.models import Backbone
from loradrift.models.merging import merged
from loradrift.weights import LowRank, StoredWeights, difference

KINDS = {
    "lora": ({"r": 4, "lora_alpha": 8}, {"r": 4, "lora_alpha": 8}),
    "rslora": ({"use_rslora": True}, {"use_rslora": True}),
    "unequal ranks": ({"r": 2, "lora_alpha": 3}, {"r": 5, "lora_alpha": 11, "use_rslora": True}),
    "patterns": (
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 5}},
        {"rank_pattern": {"layers.1.mlp.down_proj": 7}},
    ),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def sides(request, model_folder, tmp_path):
    names = ("positive", "negative")
    return [
        write_adapter(tmp_path / name, model_folder, size=size, **options)
        for name, size, options in zip(names, (0.05, 0.08), request.param, strict=True)
    ]


def test_the_written_difference_is_the_dense_one(sides, model_folder, tmp_path):
    positive, negative = (read_adapter(folder) for folder in sides)
    exact = difference(positive, negative)
    write_low_rank(tmp_path / "direction", exact, base=str(model_folder))
    written = read_adapter(tmp_path / "direction", StoredWeights(model_folder))
    merged_sides = [merged_change(folder, model_folder) for folder in sides]
    merged_whole = merged_change(tmp_path / "direction", model_folder)
    assert written.keys() == exact.keys() == merged_whole.keys()
    for name, change in written.items():
        dense = [x.scale * x.B_OR @ x.A_RI for x in (positive[name], negative[name])]
        wanted = dense[0] - dense[1]
        assert change.rank == positive[name].rank + negative[name].rank and change.scale == 1
        found = change.scale * change.B_OR @ change.A_RI
        assert float((found - wanted).norm() / wanted.norm()) < 1e-6
        by_peft = merged_sides[0][name] - merged_sides[1][name]
        torch.testing.assert_close(merged_whole[name], by_peft, rtol=1e-3, atol=2e-7)
    assert 0 < relative_error(written, exact) < 1e-6


def test_it_is_certified_loads_in_peft_and_passes_vllm_s_rules(sides, model_folder, tmp_path):
    exact = difference(*map(read_adapter, sides))
    write_low_rank(tmp_path / "direction", exact, base=str(model_folder))
    certificate = judged(tmp_path / "direction", model_folder)
    assert certificate.passed, certificate.verdict
    files = read_files(tmp_path / "direction")
    assert check_adapter(files, StoredWeights(model_folder)) == max(x.rank for x in exact.values())
    assert files.config["target_modules"] == sorted(exact)  # the same file in every process
    assert stat.S_IMODE(os.stat(tmp_path / "direction/adapter_model.safetensors").st_mode) & 0o44


@pytest.mark.parametrize("coefficient", [1.0, -0.5, 0.25])
def test_with_a_coefficient_in_it_it_answers_as_the_merged_weights(
    model_folder, tmp_path, coefficient
):
    names = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"]
    changes = {names[0]: low_rank(32, 32, 3), names[1]: low_rank(64, 32, 2, seed=1)}
    folder = tmp_path / "direction"
    write_low_rank(folder, changes, base=str(model_folder), coefficient=coefficient)
    with torch.no_grad():
        found = forward(load_adapter(folder, model_folder).eval())
        backbone = Backbone(load_base(model_folder).eval())
        base = forward(backbone.lm)
        with merged(backbone, changes, coefficient):
            wanted = forward(backbone.lm)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        write_low_rank(tmp_path / "whole", changes, base=str(model_folder))
        scaled = load_adapter(tmp_path / "whole", model_folder).eval()
        for layer in lora_layers(scaled):
            layer.set_scale("default", coefficient)
        torch.testing.assert_close(forward(scaled), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, base, rtol=1e-2)


@pytest.mark.parametrize("rank", [8, 24, 32, 160])
def test_ranks_of_directions_are_served_by_vllm_s_next_step(rank):
    steps = {8: 16, 24: 64, 32: 64, 160: 320}
    from loradrift.config.benchmarks import RANKS

    assert min(step for step in RANKS if step >= 2 * rank) == steps[rank]


@pytest.mark.parametrize(
    ("change", "coefficient", "message"),
    [
        (low_rank(32, 32), 1e39, r"coefficient=1e\+39: base_model.model.q.lora_B.weight would not"),
        (low_rank(32, 32), 1e-60, "coefficient=1e-60 is so small that the change of q is zero"),
        (LowRank(torch.ones(2, 1), 1e39 * torch.ones(1, 2).double()), 1.0, "q.lora_A.weight would"),
    ],
)
def test_what_float32_cannot_hold_is_refused_and_nothing_is_left(
    tmp_path, change, coefficient, message
):
    with pytest.raises(UserError, match=message):
        write_low_rank(tmp_path / "new", {"q": change}, base="base", coefficient=coefficient)
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_that_of_the_worst_module():
    exact = {"a": low_rank(6, 6), "b": low_rank(6, 6, seed=1)}
    off = {name: LowRank(x.B_OR, x.A_RI, 1.001 * x.scale) for name, x in exact.items()}
    assert relative_error(exact | {"b": off["b"]}, exact) == pytest.approx(1e-3, rel=1e-6)
