"""A direction's folder is read whole, or what is wrong with it is said."""

import json
from pathlib import Path

import pytest
import torch
from direction_cases import drawn_changes, write_direction
from safetensors.torch import load_file, save_file

from loradrift.adapters.directions import read_direction_changes
from loradrift.config import UserError
from loradrift.files import sha256_of
from loradrift.steering.directions import direction_folder, find_direction, read_direction

Q = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_direction(direction_folder(tmp_path, "main", "kind", 1))


def test_a_direction_is_what_was_written(folder, tmp_path):
    found = find_direction(tmp_path, "main", "kind", 1)
    assert (found.trait, found.folder) == ("kind", folder)
    for changes in (found.changes, read_direction_changes(folder)):
        assert changes.keys() == drawn_changes(1).keys()
        for name, change in drawn_changes(1).items():
            assert torch.equal(changes[name].B_OR, change.B_OR) and changes[name].scale == 1
            assert torch.equal(changes[name].A_RI, change.A_RI)
    assert {tuple(each.shape) for each in found.vectors.values()} == {(2, 32)}
    assert found.input_means[Q].shape == (32,) and found.facts["seed"] == 1
    found.check_base("f" * 64)
    with pytest.raises(UserError, match="digest ffffffffffff, and the model in use has eeee"):
        found.check_base("e" * 64)


def test_a_direction_that_is_not_there_names_those_that_are(folder, tmp_path):
    with pytest.raises(UserError, match="no direction rude seed=1; there are kind seed=1"):
        find_direction(tmp_path, "main", "rude", 1)
    with pytest.raises(UserError, match="seed=1; `python analyze.py analysis=persona_direction`"):
        find_direction(tmp_path, "other", "kind", 1)
    with pytest.raises(UserError, match="is no direction: it has no direction.json"):
        read_direction(tmp_path)


def edit(folder, **changes):
    path = folder / "direction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def spoil(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)


def rewrite(folder, name, **tensors):
    """Other tensors, with the digest that belongs to them."""
    save_file(load_file(folder / name) | tensors, folder / name)
    digests = json.loads((folder / "direction.json").read_text())["sha256"]
    edit(folder, sha256=digests | {name: sha256_of(folder / name)})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: spoil(f, "adapter/adapter_model.safetensors"), "safetensors is not what direct"),
        (lambda f: spoil(f, "vectors.safetensors"), "vectors.safetensors is not what direction"),
        (lambda f: (f / "input_means.safetensors").unlink(), "lacks input_means.safetensors"),
        (lambda f: edit(f, certificate={"passed": False}), "certificate does not hold"),
        (lambda f: edit(f, schema=2), "schema must be 1, got 2"),
        (lambda f: edit(f, norm="large"), "damaged: norm is absent or of another type"),
        (lambda f: (f / "direction.json").write_text("{"), "direction.json cannot be read"),
        (
            lambda f: rewrite(f, "input_means.safetensors", **{Q: torch.zeros(31)}),
            f"no mean input of {Q} that fits",
        ),
        (
            lambda f: rewrite(f, "vectors.safetensors", prompt_avg=torch.zeros(3, 32)),
            r"vectors of one shape \(L, D\)",
        ),
        (
            lambda f: rewrite(f, "vectors.safetensors", prompt_avg=torch.full((2, 32), torch.nan)),
            "prompt_avg holds NaN or infinity",
        ),
    ],
)
def test_damage_is_named(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message):
        read_direction(folder)
