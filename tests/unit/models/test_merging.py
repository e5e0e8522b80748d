"""Weights hold W + c dW inside the block, and exactly their old bits after it."""

import math
from contextlib import ExitStack

import pytest
import torch
from changes import gauss, low_rank
from families import write_family

from loradrift.config import LoraConfig, ModelConfig, UserError
from loradrift.methods import make_trainable
from loradrift.models import Backbone, load_backbone
from loradrift.models.merging import merged
from loradrift.weights import LowRank, StoredWeights, read_full

Q, UP = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"
DIRECTION = {Q: low_rank(32, 32, 3), UP: low_rank(64, 32, 2, seed=1, scale=1.7)}


@pytest.fixture
def backbone(model) -> Backbone:
    return load_backbone(model, seed=0).eval()


def bits(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in backbone.state_dict().items()}


def same_bits(one, other) -> bool:
    assert one.keys() == other.keys()
    return all(
        torch.equal(one[name].view(torch.uint8), other[name].view(torch.uint8)) for name in one
    )


def weight(backbone: Backbone, name: str) -> torch.Tensor:
    return backbone.causal_lm.get_submodule(name).weight


def expected(old: torch.Tensor, *parts: tuple[float, LowRank]) -> torch.Tensor:
    """The sum entry by entry, rounded to float32 after each merge."""
    for coefficient, x in parts:
        product = torch.einsum("or,ri->oi", x.B_OR, x.A_RI)
        old = (old.double() + coefficient * x.scale * product).float()
    return old


@pytest.mark.parametrize("coefficient", [1.0, -0.5, 1e-3])
def test_weights_hold_the_sum_inside_and_their_bits_after(backbone, coefficient):
    before = bits(backbone)
    parameters = {name: id(p) for name, p in backbone.named_parameters()}
    with merged(backbone, DIRECTION, coefficient):
        for name, change in DIRECTION.items():
            old = before[f"lm.{name}.weight"]
            wanted = expected(old, (coefficient, change))
            torch.testing.assert_close(weight(backbone, name), wanted, rtol=1e-7, atol=1e-9)
            assert not torch.equal(weight(backbone, name), old)
        others = bits(backbone)
        changed = {name for name in before if not torch.equal(before[name], others[name])}
        assert changed == {f"lm.{name}.weight" for name in DIRECTION}
    assert same_bits(before, bits(backbone))
    assert parameters == {name: id(p) for name, p in backbone.named_parameters()}


def test_blocks_nest_with_coefficients_of_their_own_and_each_restores_the_one_around_it(backbone):
    before, own = bits(backbone), {Q: low_rank(32, 32, 5, seed=7)}
    with merged(backbone, DIRECTION, 0.3):
        outer = bits(backbone)
        with merged(backbone, own, -2.0):
            old = before[f"lm.{Q}.weight"]
            wanted = expected(old, (0.3, DIRECTION[Q]), (-2.0, own[Q]))
            torch.testing.assert_close(weight(backbone, Q), wanted, rtol=1e-6, atol=1e-6)
            inner = bits(backbone)
            with pytest.raises(ZeroDivisionError), merged(backbone, own, 1.0):
                raise ZeroDivisionError
            assert same_bits(inner, bits(backbone))
        assert same_bits(outer, bits(backbone))
        with merged(backbone, DIRECTION, 5.0):  # again, after another one
            pass
        assert same_bits(outer, bits(backbone))
    assert same_bits(before, bits(backbone))


def test_a_list_of_directions_composes(backbone):
    before = bits(backbone)
    with ExitStack() as stack:
        for coefficient in (0.5, -0.25, 0.125):
            stack.enter_context(merged(backbone, DIRECTION, coefficient))
        wanted = expected(before[f"lm.{Q}.weight"], (0.375, DIRECTION[Q]))
        torch.testing.assert_close(weight(backbone, Q), wanted, rtol=1e-6, atol=1e-6)
    assert same_bits(before, bits(backbone))


def test_two_layers_that_share_a_weight_get_both_changes_and_their_bits_back(backbone):
    other = Q.replace("layers.0", "layers.1")
    backbone.causal_lm.get_submodule(other).weight = weight(backbone, Q)
    before, changes = bits(backbone), {Q: DIRECTION[Q], other: low_rank(32, 32, 2, seed=5)}
    with merged(backbone, changes, 2.0):
        wanted = expected(before[f"lm.{Q}.weight"], *((2.0, x) for x in changes.values()))
        torch.testing.assert_close(weight(backbone, Q), wanted, rtol=1e-6, atol=1e-6)
    assert same_bits(before, bits(backbone))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_errors_inside_leave_the_bits(backbone, error):
    before = bits(backbone)
    with pytest.raises(error), merged(backbone, DIRECTION):
        raise error("inside")
    assert same_bits(before, bits(backbone))


def test_outputs_change_and_are_the_same_again_also_in_inference_mode(backbone):
    ids = torch.tensor([[1, 40, 41, 42]])
    with torch.inference_mode():
        old = backbone.encode(ids)
        with merged(backbone, DIRECTION, 0.5):
            assert not torch.allclose(backbone.encode(ids), old)
        assert torch.equal(backbone.encode(ids), old)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_are_rounded_once(backbone, dtype):
    backbone.to(dtype)
    before, change = bits(backbone), DIRECTION[Q]
    with merged(backbone, DIRECTION, 0.7):
        product = torch.einsum("or,ri->oi", change.B_OR, change.A_RI)
        exact = before[f"lm.{Q}.weight"].double() + 0.7 * change.scale * product
        assert torch.equal(weight(backbone, Q), exact.to(dtype))
    assert same_bits(before, bits(backbone))


def test_below_peft_the_base_weights_change_and_the_adapter_stays(model):
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, LoraConfig(name="lora", rank=4, alpha=8), seed=0)  # in train mode
    before = bits(backbone)
    layer = backbone.causal_lm.get_submodule(Q)
    old = layer.base_layer.weight.clone()
    with merged(backbone, DIRECTION, -1.0):
        wanted = expected(old, (-1.0, DIRECTION[Q]))
        torch.testing.assert_close(layer.base_layer.weight, wanted, rtol=1e-6, atol=1e-6)
        now = bits(backbone)
        assert all(torch.equal(now[name], before[name]) for name in before if "lora_" in name)
    assert same_bits(before, bits(backbone))


def test_transposed_layers_of_gpt2(model_folder, tmp_path):
    folder = write_family("gpt2", model_folder, tmp_path / "gpt2")
    backbone = load_backbone(ModelConfig(name="local", path=str(folder)), seed=0).eval()
    name = "transformer.h.1.attn.c_attn"
    change, before = low_rank(96, 32, 2), bits(backbone)
    with merged(backbone, {name: change}):
        wanted = expected(before[f"lm.{name}.weight"].T, (1.0, change)).T
        torch.testing.assert_close(weight(backbone, name), wanted, rtol=1e-6, atol=1e-6)
    assert same_bits(before, bits(backbone))


def test_a_full_fine_tuning_is_read_lazily_and_becomes_the_tuned_model(
    backbone, model_folder, tmp_path
):
    before = bits(backbone)
    tuned = load_backbone(ModelConfig(name="local", path=str(model_folder)), seed=0).eval()
    with torch.no_grad():
        for name in (Q, UP):
            weight(tuned, name).add_(0.1 * gauss(*weight(tuned, name).shape))
    tuned.lm.save_pretrained(tmp_path / "tuned")
    found = read_full(StoredWeights(model_folder), StoredWeights(tmp_path / "tuned")).modules
    with merged(backbone, found):
        assert same_bits(bits(tuned), bits(backbone))
    assert same_bits(before, bits(backbone))


def test_dense_changes_and_a_coefficient_of_zero(backbone):
    before, matrix = bits(backbone), gauss(32, 32)
    with merged(backbone, {Q: matrix}, 2.0):
        wanted = (before[f"lm.{Q}.weight"].double() + 2 * matrix).float()
        assert torch.equal(weight(backbone, Q), wanted)
    with merged(backbone, DIRECTION, 0.0):
        assert same_bits(before, bits(backbone))


def spoiled(**changes) -> dict:
    return {**DIRECTION, **changes}


@pytest.mark.parametrize(
    ("changes", "coefficient", "message"),
    [
        ({"layers.0.self_attn.q_proj": DIRECTION[Q]}, 1.0, "no module layers.0.self_attn.q_proj, "
         f"which the direction changes; the nearest is {Q}"),
        (spoiled(**{"model.norm": low_rank(32, 32)}), 1.0, "norm is no linear layer but Llama"),
        (spoiled(**{UP: low_rank(32, 32)}), 1.0, r"\(64, 32\) in the model and \(32, 32\) in the"),
        ({Q: DIRECTION[Q] - DIRECTION[Q], UP: 0 * gauss(64, 32)}, 1.0, "zero in all of its 2 modu"),
        ({}, 1.0, "the direction changes no module"),
        (DIRECTION, 1e39, f"coefficient=1e\\+39: the weight of {Q} would not be finite in float32"),
        (DIRECTION, 1e308, "coefficient=1e\\+308: the weight of"),
        (DIRECTION, -1e-25, "coefficient=-1e-25 is so small that no weight changes"),
        (DIRECTION, math.nan, "coefficient must be a finite number, got nan"),
        (DIRECTION, math.inf, "coefficient must be a finite number, got inf"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_leaves_the_bits(backbone, changes, coefficient, message):
    before = bits(backbone)
    with pytest.raises(UserError, match=message), merged(backbone, changes, coefficient):
        pytest.fail("the block ran")
    assert same_bits(before, bits(backbone))


def test_the_coefficient_that_overflows_half_precision_is_refused_in_a_later_module(backbone):
    backbone.half()
    before, direction = bits(backbone), {Q: low_rank(32, 32), UP: 60000 * gauss(64, 32)}
    message = f"coefficient=2.0: the weight of {UP} would not be finite in float16"
    with pytest.raises(UserError, match=message), merged(backbone, direction, 2.0):
        pytest.fail("the block ran")
    assert same_bits(before, bits(backbone))


def test_weights_that_train_are_refused(model):
    backbone = load_backbone(model, seed=0)
    message = f"{Q} is to train: what it learns would be taken out"
    with pytest.raises(UserError, match=message), merged(backbone, DIRECTION):
        pytest.fail("the block ran")
