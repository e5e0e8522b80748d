"""Combinations that PEFT's own ``add_weighted_adapter`` gets wrong, and these functions do not.

Each test states the error of PEFT's (0.21) relative to the dense difference. If PEFT mends one, its
test fails and its line here goes.
"""

import warnings

import peft
import pytest
import torch
from adapter_cases import PLAIN, load_adapter, write_adapter

from loradrift.adapters import read_adapter
from loradrift.weights import LowRank, difference, scaled

MODULE = "model.layers.0.self_attn.q_proj"


def dense(change: LowRank) -> torch.Tensor:
    return change.scale * change.B_OR @ change.A_RI


class Two:
    """Two adapters on one model, as PEFT holds them and as they are read here."""

    def __init__(self, model_folder, tmp_path, positive, negative):
        options = {"positive": positive, "negative": negative}
        sizes = {"positive": 0.05, "negative": 0.08}
        folders = {
            name: write_adapter(tmp_path / name, model_folder, size=sizes[name], **own)
            for name, own in options.items()
        }
        self.model = load_adapter(folders["positive"], model_folder)
        self.model.load_adapter(folders["negative"], "negative")
        self.read = {name: read_adapter(folder) for name, folder in folders.items()}

    def by_peft(self, kind: str, weights=(1.0, -1.0), adapters=("default", "negative"), **more):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.add_weighted_adapter([*adapters], [*weights], kind, kind, **more)
        return self.delta(kind)

    def delta(self, adapter: str) -> torch.Tensor:
        """What PEFT adds to the weight of :data:`MODULE`."""
        layer = self.model.get_base_model().get_submodule(MODULE)
        return layer.get_delta_weight(adapter).detach().double()

    def exact(self) -> torch.Tensor:
        """By PEFT's own delta of either adapter, which is right: the truth for both."""
        return self.delta("default") - self.delta("negative")

    def ours(self) -> torch.Tensor:
        return dense(difference(self.read["positive"], self.read["negative"])[MODULE])


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture
def two(model_folder, tmp_path):
    return lambda positive=PLAIN, negative=PLAIN: Two(model_folder, tmp_path, positive, negative)


def test_a_negative_weight_and_its_cross_terms(two):
    pair = two()
    assert error(pair.ours(), pair.exact()) < 1e-6
    assert error(pair.by_peft("linear"), pair.exact()) > 0.5
    # it is the product of sums: cross terms, and a plus where the difference has a minus
    B, A = (
        [pair.read[side][MODULE].__dict__[key] for side in pair.read] for key in ("B_OR", "A_RI")
    )
    scale = pair.read["positive"][MODULE].scale
    product = scale * (B[0] + B[1]) @ (A[0] - A[1])
    assert error(pair.delta("linear"), product) < 1e-6


def test_positive_weights_have_cross_terms_too(two):
    pair = two()
    wanted = 0.5 * pair.delta("default") + 0.5 * pair.delta("negative")
    ours = scaled(pair.read["positive"][MODULE], 0.5) + scaled(pair.read["negative"][MODULE], 0.5)
    assert error(dense(ours), wanted) < 1e-6
    assert error(pair.by_peft("linear", (0.5, 0.5)), wanted) > 0.5


def test_an_adapter_halved_and_added_to_itself_counts_twice(two):
    pair = two()
    half = scaled(pair.read["positive"][MODULE], 0.5)
    assert error(dense(half + half), pair.delta("default")) < 1e-6
    doubled = pair.by_peft("linear", (0.5, 0.5), ("default", "default"))
    assert error(doubled, pair.delta("default")) == pytest.approx(1.0, rel=1e-5)


def test_rslora_is_off_by_the_root_of_the_rank(two):
    rslora = PLAIN | {"use_rslora": True}
    pair = two(rslora, rslora)
    assert error(pair.ours(), pair.exact()) < 1e-6
    found = pair.by_peft("cat")  # of rank 8, whose scale is 8 / sqrt(8)
    assert error(found, pair.exact()) == pytest.approx(8**0.5 - 1, rel=1e-4)
    assert error(found / 8**0.5, pair.exact()) < 1e-6


def test_one_rslora_adapter_among_two_leaves_its_scale_to_the_first(two):
    pair = two(PLAIN | {"use_rslora": True}, PLAIN)
    assert error(pair.ours(), pair.exact()) < 1e-6
    assert error(pair.by_peft("cat"), pair.exact()) > 1


def test_unequal_ranks_are_refused_or_cut(two):
    pair = two(PLAIN | {"r": 2}, PLAIN | {"r": 6, "lora_alpha": 9})
    assert error(pair.ours(), pair.exact()) < 1e-6
    with pytest.raises(ValueError, match="must have the same r value"):
        pair.by_peft("linear")
    assert error(pair.by_peft("svd"), pair.exact()) > 0.01  # of the larger rank: a part is lost


def test_a_scale_that_was_set_before_is_baked_in(two):
    pair = two()
    wanted = pair.exact()
    for layer in pair.model.modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            layer.set_scale("default", 0.5)
    assert error(pair.ours(), wanted) < 1e-6  # by the files' own scale
    assert error(pair.by_peft("cat"), wanted) > 0.1


def test_the_difference_of_factors_is_unrelated_to_the_difference(two):
    pair = two()
    x, y = (pair.read[side][MODULE] for side in ("positive", "negative"))
    product = x.scale * (x.B_OR - y.B_OR) @ (x.A_RI - y.A_RI)
    assert error(product, pair.exact()) > 0.5
    assert error(pair.ours(), pair.exact()) < 1e-6
