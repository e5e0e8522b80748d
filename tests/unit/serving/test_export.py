"""What an adapter is exported as, and that nothing is written over."""

import shutil

import pytest
import torch
from adapter_cases import (
    CLASSIFIER,
    WEIGHTS,
    load_adapter,
    load_base,
    rewrite,
    tensors_of,
    without,
    write_adapter,
    write_base,
)
from export_cases import logits
from safetensors.torch import load_file, save_file

from loradrift.config import UserError
from loradrift.serving import export_write
from loradrift.serving.export import export, export_cached, read_servable
from loradrift.serving.export_servable import digests

SIDE_BY_SIDE = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "uneven": {"rank_pattern": {"v_proj": 9}, "alpha_pattern": {"q_proj": 32}},
    "pissa": {"init_lora_weights": "pissa"},
    "gaussian": {"init_lora_weights": "gaussian"},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "head": {"target_modules": ["lm_head", "q_proj"]},
}


@pytest.mark.parametrize("kind", SIDE_BY_SIDE)
def test_an_adapter_is_exported_with_its_merge(kind, model_folder, tmp_path):
    folder = write_adapter(tmp_path / kind, model_folder, size=0.2, **SIDE_BY_SIDE[kind])
    found = export(folder, tmp_path / "out")
    wanted = logits(load_adapter(folder, model_folder))
    assert (wanted - logits(load_base(model_folder))).abs().max() > 1e-2
    assert torch.equal(logits(load_adapter(found.adapter, model_folder)), wanted)
    torch.testing.assert_close(logits(load_base(found.merged)), wanted, rtol=0, atol=1e-5)
    assert (found.classifier, found.num_labels, found.task, found.drawn) == (
        None,
        None,
        None,
        False,
    )
    assert found.checks["adapter"] == 0 <= found.checks["merged"] < 1e-5
    assert "scale * B A x at worst" in found.certificate
    assert found.rank == {"uneven": 9, "pissa": 8}.get(kind, 4)
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_the_second_time_nothing_is_done(model_folder, tmp_path, monkeypatch):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    first = export(folder, tmp_path / "out"), export_cached(folder, tmp_path / "cache")
    monkeypatch.setattr("loradrift.serving.export_write.write_export", None)
    assert export(folder, tmp_path / "out") == first[0] == read_servable(tmp_path / "out")
    assert export_cached(folder, tmp_path / "cache") == first[1]
    assert first[1].digest == first[0].digest in first[1].merged.parent.name


def test_each_version_has_a_folder_of_its_own(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    first = export_cached(folder, tmp_path)
    shutil.rmtree(folder)
    write_adapter(folder, model_folder, size=0.1)
    second = export_cached(folder, tmp_path)
    assert first.adapter != second.adapter and first.adapter.is_dir()


def test_a_copy_elsewhere_has_an_export_of_its_own(model_folder, tmp_path):
    """What an export says of its source stays true where that is moved or deleted."""
    folder = write_adapter(tmp_path / "a" / "adapter", model_folder)
    first = export_cached(folder, tmp_path)
    second = export_cached(shutil.copytree(folder, tmp_path / "b" / "adapter"), tmp_path)
    assert first.sha256 == second.sha256 and first.merged != second.merged
    assert (first.source, second.source) == (folder, tmp_path / "b" / "adapter")


def test_a_classifiers_adapter_is_a_language_models_too(model_folder, tmp_path):
    """Without its head it is the adapter of the base's language model."""
    config = CLASSIFIER | {"modules_to_save": ["score"]}
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.2, **config)
    found = export(folder, tmp_path / "out")
    plain = write_adapter(tmp_path / "plain", model_folder)
    rewrite(plain, lambda _: without("score")(tensors_of(folder)))
    wanted = logits(load_adapter(plain, model_folder))
    torch.testing.assert_close(logits(load_base(found.merged)), wanted, rtol=0, atol=1e-5)
    assert torch.equal(logits(load_adapter(found.adapter, model_folder)), wanted)
    weights = load_file(found.classifier / WEIGHTS)
    head = load_file(folder / WEIGHTS)["base_model.model.score.weight"]
    assert torch.equal(weights["base_model.model.score.weight"], head)
    assert (found.num_labels, found.classifier_base) == (2, found.base)


def test_a_base_in_half_precision_is_merged_in_float32(tmp_path):
    base = write_base(tmp_path / "base", "llama", dtype="bfloat16")
    found = export(write_adapter(tmp_path / "adapter", base, size=0.2), tmp_path / "out")
    assert {x.dtype for x in load_file(found.merged / "model.safetensors").values()} == {
        torch.float32
    }
    assert "stored in bfloat16: the merged model is float32" in found.notices[0]


def test_an_empty_folder_is_as_good_as_a_new_one(model_folder, tmp_path):
    (tmp_path / "out").mkdir()
    assert export(write_adapter(tmp_path / "a", model_folder), tmp_path / "out").name == "a"


def test_a_damaged_entry_of_the_cache_is_made_again(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    found = export_cached(folder, tmp_path)
    shutil.rmtree(found.merged)
    with pytest.warns(UserWarning, match="is damaged .*merged holds no weights any more"):
        assert export_cached(folder, tmp_path) == found
    assert found.merged.is_dir()


@pytest.mark.parametrize(
    ("place", "happened"),
    [
        ("merged/model.safetensors", "has changed"),
        ("adapter/adapter_config.json", "has changed"),
        ("merged/config.json", "is gone"),
        ("merged/model-00002.safetensors", "was added"),  # an engine would load it too
    ],
)
def test_an_entry_whose_files_are_not_those_exported_is_made_again(
    place, happened, model_folder, tmp_path
):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.2)
    found = export_cached(folder, tmp_path)
    wanted, path = digests(found.merged.parent), found.merged.parent / place
    if happened == "is gone":
        path.unlink()
    else:
        path.write_bytes(bytes(2) + (path.read_bytes()[2:] if path.exists() else b""))
    with pytest.warns(UserWarning, match=f"{path} {happened} since it was exported.: it is made a"):
        again = export_cached(folder, tmp_path)
    assert again == found and digests(found.merged.parent) == wanted == found.files
    assert export_cached(folder, tmp_path) == found


@pytest.mark.parametrize("part", ["adapter", "merged model"])
def test_a_part_with_other_logits_is_not_left(part, model_folder, tmp_path, monkeypatch):
    """As by a library that writes what it does not read."""
    write = {"adapter": export_write.write_adapter, "merged model": export_write.write_merged}[part]

    def spoiled(*args):
        done = write(*args)
        path = args[-1] / {"adapter": WEIGHTS, "merged model": "model.safetensors"}[part]
        weights = {key: x.clone() for key, x in load_file(path).items()}
        weights[sorted(weights)[0]][0, 0] += 0.5
        save_file(weights, path, metadata={"format": "pt"})
        return done

    monkeypatch.setattr(export_write, write.__name__, spoiled)
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.2)
    with pytest.raises(UserError, match=r"exported .* is not the run's: its logits differ by 0\."):
        export(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
