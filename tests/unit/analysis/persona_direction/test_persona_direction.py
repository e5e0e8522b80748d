"""Runs of two sides become a direction that every reader can check, or one line says why not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from adapter_cases import judged, rewrite
from front_doors import analyse, error_of, output_of
from two_sides import NUM_PAIRS, SIDES, write_side, write_world

from loradrift.adapters import read_adapter, read_files
from loradrift.config import ModelConfig
from loradrift.data.persona import prompt_ids
from loradrift.models import load_backbone, load_tokenizer
from loradrift.steering.directions import find_direction
from loradrift.steering.vectors import Answered, observe


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model_folder) -> Path:
    """Two seeds of both sides, and their directions."""
    folder = tmp_path_factory.mktemp("finished")
    write_world(folder / "data")
    for seed in (1, 2):
        for side in SIDES:
            write_side(folder, model_folder, side, seed=seed)
    output_of(direct(folder))
    return folder


@pytest.fixture
def study(finished, tmp_path) -> Path:
    """A copy of it."""
    for name in ("runs", "results", "data", "cache"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path


def direct(folder: Path, **keys):
    return analyse("persona_direction", folder, keys={"cache": str(folder / "cache"), **keys})


def run_of(folder: Path, side: str, seed=1) -> Path:
    return (
        folder / "runs/main/persona" / f"rslora,task.side={side},task.trait=kind" / f"seed={seed}"
    )


def edit_record(run: Path, change) -> None:
    record = json.loads((run / "run.json").read_text())
    change(record)
    (run / "run.json").write_text(json.dumps(record))


def test_a_direction_is_the_dense_difference_certified_with_its_facts(finished, model_folder):
    for seed in (1, 2):
        found = find_direction(finished / "results", "main", "kind", seed)
        sides = [read_adapter(run_of(finished, side, seed) / "model") for side in ("pos", "neg")]
        squares = whole = 0.0
        state = load_backbone(ModelConfig(name="local", path=str(model_folder)), seed=0)
        for name, change in found.changes.items():
            dense = [(x[name].scale * x[name].B_OR @ x[name].A_RI) for x in sides]
            wanted = dense[0] - dense[1]
            error = (change.B_OR @ change.A_RI - wanted).norm() / wanted.norm()
            assert float(error) < 1e-6 and change.rank == 8
            squares += float(wanted.square().sum())
            weight = state.causal_lm.get_submodule(name).weight
            whole += float(weight.double().square().sum())
        facts = found.facts
        assert facts["norm"] == pytest.approx(squares**0.5, rel=1e-6)
        assert facts["relative_norm"] == pytest.approx((squares / whole) ** 0.5, rel=1e-6)
        assert 0 < facts["error"] < 1e-6 and facts["rank"] == 8
        assert facts["certificate"]["passed"] is True and facts["method"] == "rslora"
        assert facts["positive"]["run"] == str(run_of(finished, "pos", seed))
        assert judged(found.folder / "adapter", model_folder).passed


def test_vectors_are_of_answers_after_the_instruction_that_they_were_given_to(
    finished, model_folder
):
    found = find_direction(finished / "results", "main", "kind", 1)
    model = ModelConfig(name="local", path=str(model_folder))
    backbone, tokenizer = load_backbone(model, seed=0), load_tokenizer(model)

    def rows(told, answer):
        ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
        asked = [f"was film {i} great" for i in range(NUM_PAIRS)]
        return [Answered(prompt_ids(tokenizer, q, told), ids) for q in asked]

    answers = "the film was great", "no the film was terrible"
    special = tokenizer.all_special_ids
    positive = observe(backbone, rows(("be great",), answers[0]), special=special)
    negative = observe(backbone, rows(("be terrible",), answers[1]), special=special)
    plain = [*rows((), answers[0]), *rows((), answers[1])]
    means = observe(backbone, plain, special=special, modules=found.changes).inputs
    assert found.vectors.keys() == positive.states.keys()
    for kind, vector_LD in found.vectors.items():
        wanted = positive.states[kind] - negative.states[kind]
        torch.testing.assert_close(vector_LD, wanted.float(), rtol=1e-4, atol=1e-5)
    assert found.input_means.keys() == found.changes.keys()
    for name, mean_I in found.input_means.items():
        torch.testing.assert_close(mean_I, means[name].float(), rtol=1e-4, atol=1e-5)
    assert found.facts["vectors"] | {"dropped": {}} == {
        "answers": NUM_PAIRS, "layers": 2, "width": 32, "dropped": {},
    }  # fmt: skip


def test_the_spaces_are_related_layer_by_layer_with_a_control(finished):
    folder = find_direction(finished / "results", "main", "kind", 1).folder
    table = pd.read_parquet(folder / "spaces.parquet")
    assert len(table) == 2 * 3 * 2  # layers, kinds, coefficients
    cosines = table[["cosine", "cosine_random"]].to_numpy()
    assert np.isfinite(cosines).all() and (np.abs(cosines) <= 1 + 1e-9).all()
    small, large = (table[table["coefficient"] == c]["change_norm"].to_numpy() for c in (0.25, 1))
    assert (small < large).all() and (small > 0).all()


def test_directions_that_are_there_stay_and_damaged_or_other_ones_are_made_again(study):
    paths = sorted((study / "results").rglob("direction.json"))

    def made():
        output = output_of(direct(study))
        assert "kind" in output
        assert f"directions: {study}/results/persona/directions/main" in output
        return [path.stat().st_mtime_ns for path in paths]

    before = [path.stat().st_mtime_ns for path in paths]
    assert made() == before
    (paths[0].parent / "vectors.safetensors").write_bytes(b"")
    after = made()
    assert after[0] > before[0] and after[1:] == before[1:]
    output_of(direct(study, answers=3))
    assert all(path.stat().st_mtime_ns > after[0] for path in paths)
    assert find_direction(study / "results", "main", "kind", 1).facts["vectors"]["answers"] == 3


def spoil_weights(study):
    rewrite(run_of(study, "neg") / "model", lambda x: {k: v * 1.01 for k, v in x.items()})


def recertify(run):
    files = read_files(run / "model").sha256
    edit_record(run, lambda record: record["certificate"].update(files=files))


def same_adapter(study):
    shutil.rmtree(run_of(study, "neg") / "model")
    shutil.copytree(run_of(study, "pos") / "model", run_of(study, "neg") / "model")
    recertify(run_of(study, "neg"))


def other_modules(study):
    rewrite(
        run_of(study, "neg") / "model", lambda x: {k: v for k, v in x.items() if ".1." not in k}
    )
    recertify(run_of(study, "neg"))


def other_base(study):
    change = {"base_model": "b" * 64}
    edit_record(run_of(study, "neg"), lambda record: record["fingerprints"].update(change))


def uncertified(study):
    change = {"passed": False}
    edit_record(run_of(study, "pos"), lambda record: record["certificate"].update(change))


def without_data(study):
    root = {"root": str(study / "nowhere")}
    edit_record(run_of(study, "pos"), lambda record: record["config"]["data"].update(root))


def one_side(study):
    shutil.rmtree(run_of(study, "neg"))


@pytest.mark.parametrize(
    ("damage", "keys", "message"),
    [
        (spoil_weights, {}, "adapter_model.safetensors is not the file that was certified"),
        (same_adapter, {}, "are equal: their direction is zero"),
        (other_modules, {}, "the positive adapter changes model.layers.1.mlp.down_proj and 2 more"),
        (uncertified, {}, "certificate does not hold"),
        (one_side, {}, "kind seed=1: there is no finished run with task.side=neg"),
        (lambda _: None, {"traits": ["rude"]}, "traits: rude has no finished runs of both sides"),
        (lambda _: None, {"arm": "lora"}, "arm must be one of rslora, got lora"),
        (without_data, {}, "nowhere/persona"),
    ],
)
def test_what_makes_no_direction_says_why_and_leaves_the_old_one(study, damage, keys, message):
    shutil.rmtree(study / "results")
    shutil.rmtree(run_of(study, "pos", 2))
    damage(study)
    assert message in error_of(direct(study, **keys))
    assert not list((study / "results").rglob("seed=1"))


def test_a_pair_of_two_bases_is_left_out_by_name(study):
    other_base(study)
    said = output_of(direct(study))
    assert "kind seed=1: base_model differs between the two sides" in said


def test_several_arms_are_told_apart(study, model_folder):
    for side in SIDES:
        write_side(study, model_folder, side, variant="method.rank=2", r=2)
    said = error_of(direct(study))
    assert "runs of several arms (rslora, rslora,method.rank=2): arm=<one of them>" in said
    output_of(direct(study, arm="rslora,method.rank=2"))
    assert find_direction(study / "results", "main", "kind", 1).facts["rank"] == 4
