"""Differences and projections of whole models against dense float64, and what is refused."""

import math

import numpy as np
import pytest
import torch
from changes import dense, gauss, low_rank
from safetensors.torch import save_file

from loradrift.config import UserError
from loradrift.weights import (
    LowRank,
    StoredWeights,
    delta,
    difference,
    interference,
    is_zero,
    layer_of,
    norm,
    project,
    read_full,
    scaled,
    spectra,
    times,
    total_norm,
)

SHAPES = {
    "model.layers.0.q_proj": (8, 6), "model.layers.0.up_proj": (12, 6),
    "model.layers.1.q_proj": (8, 6), "lm_head": (9, 6),
}  # fmt: skip
SCALES = {"lora": 2.0, "rslora": 64 / math.sqrt(32), "negative": -0.7, "small": 1e-6}


def adapter(seed: int, *, ranks=(1, 2, 3, 4), scale=1.0, names=tuple(SHAPES)) -> dict[str, LowRank]:
    """One change per module, each of its own rank."""
    sizes = zip(names, ranks, strict=False)
    return {
        name: low_rank(*SHAPES[name], rank, seed=seed + 10 * i, scale=scale)
        for i, (name, rank) in enumerate(sizes)
    }


def flat(changes, names) -> np.ndarray:
    """The changes of some modules, multiplied out, as one vector; zeros where there is none."""
    parts = [
        dense(changes[name]).ravel() if name in changes else np.zeros(math.prod(SHAPES[name]))
        for name in names
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("ranks", [(1, 2, 3, 4), (4, 4, 4, 4), (6, 1, 7, 2)], ids=str)
def test_every_operation_is_that_of_dense_matrices(scale, ranks):
    x, y = adapter(0, ranks=ranks, scale=scale), adapter(5, scale=0.3)
    apart = difference(x, y)
    for name in SHAPES:
        X, Y, D = dense(x[name]), dense(y[name]), dense(apart[name])
        assert np.linalg.norm(D - (X - Y)) <= 1e-14 * np.linalg.norm(X - Y)
        assert apart[name].rank == x[name].rank + y[name].rank
        assert norm(apart[name]) == pytest.approx(np.linalg.norm(X - Y), rel=1e-10)
        values = np.linalg.svd(X - Y, compute_uv=False)
        found = spectra(apart)[name].numpy()
        assert len(found) <= len(values)
        padded = np.pad(found, (0, len(values) - len(found)))
        np.testing.assert_allclose(padded, values, rtol=1e-10, atol=1e-10 * values[0])
        inputs = gauss(6, seed=3)
        expected = (X - Y) @ inputs.numpy()
        np.testing.assert_allclose(times(apart[name], inputs), expected, rtol=1e-10)
        np.testing.assert_allclose(times(torch.from_numpy(X - Y), inputs), expected, rtol=1e-10)
        for change in (apart[name], torch.from_numpy(X - Y)):
            np.testing.assert_allclose(dense(scaled(change, -0.3)), -0.3 * (X - Y), rtol=1e-10)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_projections_per_module_per_layer_and_in_total(scale):
    change, onto = adapter(0, scale=scale), adapter(5, ranks=(3, 1, 2, 5), scale=0.3)
    as_dense = {name: torch.from_numpy(dense(x)) for name, x in change.items()}
    groups = {name: [name] for name in SHAPES} | {
        0: [name for name in SHAPES if ".0." in name],
        1: [name for name in SHAPES if ".1." in name],
        None: list(SHAPES),
    }
    for found in (project(change, onto), project(as_dense, onto)):
        places = {**found.modules, **found.layers, None: found.total}
        assert places.keys() == groups.keys()
        for place, names in groups.items():
            x, y = flat(change, names), flat(onto, names)
            assert places[place].projection == pytest.approx(x @ y / np.linalg.norm(y), rel=1e-10)
            cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            assert places[place].cosine == pytest.approx(cosine, rel=1e-10)
            assert places[place].size == pytest.approx(np.linalg.norm(x), rel=1e-10)
    assert total_norm(change) == pytest.approx(np.linalg.norm(flat(change, SHAPES)), rel=1e-10)


def test_a_projection_is_linear_in_the_change_and_does_not_know_the_length_of_the_direction():
    x, y, onto = adapter(0), adapter(3), adapter(7)
    both = {name: x[name] + y[name] for name in x}
    parts = project(x, onto).total.projection + project(y, onto).total.projection
    assert project(both, onto).total.projection == pytest.approx(parts, rel=1e-12)
    longer = {name: scaled(change, 11.0) for name, change in onto.items()}
    assert project(x, longer).total.projection == pytest.approx(project(x, onto).total.projection)
    opposite = {name: scaled(change, -1.0) for name, change in onto.items()}
    assert project(x, opposite).total.cosine == pytest.approx(-project(x, onto).total.cosine)


def test_modules_that_only_one_changes_are_zeros_in_the_other():
    whole, part = adapter(0), adapter(5, names=("model.layers.1.q_proj",), ranks=(2,))
    found = project(whole, part)
    assert found.modules["lm_head"].product == 0 and math.isnan(found.layers[0].projection)
    x, y = flat(whole, SHAPES), flat(part, SHAPES)
    assert found.total.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    back = project(part, whole)
    assert back.total.projection == pytest.approx(x @ y / np.linalg.norm(x))
    assert math.isnan(back.modules["lm_head"].cosine)


def test_zeros_have_no_direction():
    x = adapter(0)
    nothing = {name: scaled(change, 0.0) for name, change in x.items()}
    found = project(x, nothing)
    assert math.isnan(found.total.projection) and math.isnan(found.total.cosine)
    assert project(nothing, x).total.projection == 0
    assert all(is_zero(change) for change in difference(x, x).values())
    assert not any(is_zero(change) for change in x.values())
    near = {name: LowRank(c.B_OR * (1 + 1e-7), c.A_RI, c.scale) for name, c in x.items()}
    assert not any(is_zero(change) for change in difference(near, x).values())


@pytest.mark.parametrize("part", [1, 13, 10**6])
@pytest.mark.parametrize("transposed", [False, True])
def test_what_full_fine_tuning_changed_is_read_in_pieces(tmp_path, monkeypatch, part, transposed):
    monkeypatch.setattr(delta, "PART", part)
    names = ["model.layers.0.c_fc", "model.layers.1.c_fc"]
    tensors = {f"{name}.weight": gauss(6, 10, seed=i).float() for i, name in enumerate(names)}
    changes = {key: 0.01 * gauss(6, 10, seed=5 + i).float() for i, key in enumerate(tensors)}
    folders = [tmp_path / "base", tmp_path / "tuned"]
    for folder, size in zip(folders, (0, 1), strict=True):
        folder.mkdir()
        kind = "gpt2" if transposed else "llama"
        (folder / "config.json").write_text(f'{{"model_type": "{kind}"}}')
        moved = {key: x + size * changes[key] for key, x in tensors.items()}
        save_file(moved, folder / "model.safetensors")
    base, tuned = map(StoredWeights, folders)
    found = read_full(base, tuned).modules
    exact = {
        name: (tuned.read(f"{name}.weight") - base.read(f"{name}.weight")).T
        if transposed
        else tuned.read(f"{name}.weight") - base.read(f"{name}.weight")
        for name in names
    }
    shape = (10, 6) if transposed else (6, 10)
    onto = {name: low_rank(*shape, 3, seed=i) for i, name in enumerate(names)}
    whole = project(exact, onto)
    monkeypatch.setattr(delta.Dense, "read", lambda _: pytest.fail("a matrix was read whole"))
    lazily = project(found, onto)
    for name in names:
        assert tuple(found[name].shape) == shape
        assert lazily.modules[name] == pytest.approx(whole.modules[name], rel=1e-12)
    assert total_norm(found) == pytest.approx(total_norm(exact), rel=1e-12)


def test_factors_of_weights_that_would_not_fit_in_memory():
    x, y = ({"q": low_rank(300_000, 200_000, 2, seed=seed)} for seed in (0, 1))
    apart = difference(x, y)
    found = project(apart, x).total
    assert found.size**2 == pytest.approx(float((spectra(apart)["q"] ** 2).sum()), rel=1e-10)
    assert found.product == pytest.approx(norm(x["q"]) ** 2 - project(y, x).total.product)
    assert times(apart["q"], torch.zeros(200_000)).shape == (300_000,)


def test_interference_is_the_cosine_of_every_pair():
    directions = {trait: adapter(seed) for trait, seed in (("a", 0), ("b", 3), ("c", 8))}
    found = interference(directions)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (one, other), each in found.items():
        x, y = flat(directions[one], SHAPES), flat(directions[other], SHAPES)
        assert each.total.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_adapters_of_other_modules_or_bases_are_refused_by_name():
    x, part = adapter(0), adapter(0, names=tuple(SHAPES)[:2], ranks=(1, 1))
    rest = "the positive adapter changes lm_head and 1 more, and the negative one does not"
    with pytest.raises(UserError, match=rest):
        difference(x, part)
    with pytest.raises(UserError, match="the negative adapter changes lm_head and 1 more"):
        difference(part, x)
    wide = x | {"lm_head": low_rank(9, 7)}
    shapes = r"lm_head has shape \(9, 6\) in the positive adapter and \(9, 7\) in the negative one"
    with pytest.raises(UserError, match=shapes):
        difference(x, wide)
    with pytest.raises(UserError, match=r"lm_head has shape \(9, 7\) in the change and \(9, 6\)"):
        project(wide, x)
    wrapped = {f"model.{name}": change for name, change in x.items()}
    names = "the one changes model.model.layers.0.q_proj, the other model.layers.0.q_proj"
    with pytest.raises(UserError, match=f"no module in common: {names}"):
        project(wrapped, x)


def test_the_layer_of_a_module():
    assert layer_of("model.layers.3.self_attn.q_proj") == 3
    assert layer_of("model.layers.0.mlp.experts.5.w1") == 0
    assert layer_of("lm_head") is None
