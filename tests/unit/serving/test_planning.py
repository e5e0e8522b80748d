"""Which adapters a cell has, and by which names."""

import json
from types import SimpleNamespace

import pytest
from adapter_cases import write_adapter

from loradrift.config import DataConfig, TrainerConfig, UserError
from loradrift.config.models import ModelConfig
from loradrift.serving import planning
from loradrift.serving.bases import Base
from loradrift.serving.choice import Source
from loradrift.serving.config import ServingBenchmarkConfig, ServingConfig


@pytest.fixture
def exported(monkeypatch, tmp_path):
    """Have adapters exported and drawn in no time; gives those of a configuration."""

    def servable(name):
        return SimpleNamespace(
            label="", task=None, source=name, rank=4, sha256={}, drawn=False, adapter=name,
            merged=name, classifier=None, certificate=None, notices=(),
        )  # fmt: skip

    monkeypatch.setattr(planning, "export_cached", lambda folder, *a, **k: servable(str(folder)))
    monkeypatch.setattr(planning, "draw_adapter", lambda *a, name, **k: servable(name))

    def adapters(*names, base_name=None, count=3):
        sources = []
        for name in names:
            (folder := tmp_path / name).mkdir()
            values = {"base_model_name_or_path": base_name}
            (folder / "adapter_config.json").write_text(json.dumps(values))
            sources.append(Source(name, folder, None))
        config = ServingBenchmarkConfig(
            model=ModelConfig(name="local", path="org/Known"),
            data=DataConfig(name="embedded"),
            trainer=TrainerConfig(name="cpu"),
            serving=ServingConfig(adapters=[count]),
        )
        base = Base("local", str(tmp_path / "model"), "", 1, "")
        return [each.name for each in planning._adapters(config, sources, base)]

    return adapters


def test_drawn_adapters_have_names_that_no_folder_has(exported):
    assert exported("drawn_1") == ["drawn_1", "drawn_2", "drawn_3"]
    assert exported("drawn_2", "x", count=4) == ["drawn_2", "x", "drawn_1", "drawn_3"]
    assert exported(count=2) == ["drawn_1", "drawn_2"]


def test_a_base_model_that_cannot_be_compared_is_told(exported, capsys):
    exported("a", base_name="org/Other", count=1)
    assert "a: its base model org/Other is not on this machine" in capsys.readouterr().out
    exported("b", base_name="org/known", count=1)
    assert "its base model" not in capsys.readouterr().out


def test_what_vllm_does_not_take_the_other_engine_serves(model_folder, tmp_path):
    dora = write_adapter(tmp_path / "dora", model_folder, size=0.2, use_dora=True)
    saved = write_adapter(tmp_path / "saved", model_folder, modules_to_save=["lm_head"])

    def folder_for(engine, folder, **servable):
        made = SimpleNamespace(**{"adapter": None, "rank": 4} | servable)
        return planning.adapter_for(engine, Source("a", folder, None), made, model_folder)

    assert folder_for("hf", dora) == dora
    assert folder_for("vllm", dora, adapter=tmp_path) == folder_for("hf", dora, adapter=tmp_path)
    for engine in ("vllm", "vllm_server"):
        line = f"dora has no adapter that engine={engine} serves side by side; engine=hf serves"
        with pytest.raises(UserError, match=line):
            folder_for(engine, dora)
    with pytest.raises(UserError, match="engine=hf serves side by side; serving.method or"):
        folder_for("hf", tmp_path, rank=0)
    with pytest.raises(UserError, match="holds lm_head.weight, which is no LoRA factor"):
        folder_for("hf", saved)


def test_a_name_that_a_server_has_for_its_base_model(exported):
    with pytest.raises(UserError, match="adapter base: the server calls its base model so"):
        planning.refuse_names(["a", "base"])
    planning.refuse_names(["a"])


def test_an_adapter_that_cannot_be_exported_is_named_by_the_key_that_was_typed(
    exported, monkeypatch, tmp_path
):
    def refuse(folder, *args, **options):
        raise UserError(f"run={folder} holds no model: its folder model/ is not there")

    monkeypatch.setattr(planning, "export_cached", refuse)
    source, base = Source("a", tmp_path, None), Base("local", "", "", 1, "")
    for typed, begins in ((True, f"serving.folders: {tmp_path}"), (False, str(tmp_path))):
        with pytest.raises(UserError, match=f"^{begins} holds no model: its folder"):
            planning._exported(source, tmp_path, base, typed=typed)


def test_many_adapters_say_how_long_they_will_take(exported, monkeypatch, capsys):
    exported("a", count=3)
    assert capsys.readouterr().out == ""  # those that are kept take no time
    monkeypatch.setattr(planning, "QUIET_S", 0.0)
    exported("b", count=3)
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("adapters 1 of 3, about ") and first.endswith(" left")
    assert second.startswith("adapters 2 of 3, about ") and last.startswith("adapters 3 of 3, ")
