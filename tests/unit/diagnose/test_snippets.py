"""The code that a diagnosis offers runs as it is pasted, and does what it says."""

import pytest
import torch
from adapter_cases import edit, load_base, rewrite, write_adapter
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from loradrift.adapters.lora_layers import find_lora_layers
from loradrift.diagnose import diagnose
from loradrift.diagnose.advice import diagnose_command, override

KINDS = {
    "causal LM": (AutoModelForCausalLM, {"task_type": "CAUSAL_LM"}),
    "classifier": (AutoModelForSequenceClassification, {"task_type": "SEQ_CLS"}),
    "transformer": (AutoModel, {"task_type": "FEATURE_EXTRACTION"}),
}


def pasted(code: str) -> dict:
    """The names after the code has run, with nothing imported before."""
    names: dict = {}
    exec(code, names)
    return names


@pytest.mark.filterwarnings("ignore:Found missing adapter keys", "ignore:.*PEFT", "ignore:Already")
@pytest.mark.parametrize("kind", KINDS)
def test_each_path_of_a_transformers_model_runs(kind, model_folder, tmp_path):
    loader, config = KINDS[kind]
    folder = write_adapter(tmp_path / 'an "adapter"', model_folder, kind=loader, size=0.3, **config)
    found = diagnose(str(folder), str(model_folder))
    assert found.kind == kind and found.advice.change == found.paths[0].code
    for path in found.paths:
        if path.error:  # what PEFT refuses, it refuses of the pasted code too
            with pytest.raises(AttributeError, match="prepare_inputs_for_generation"):
                pasted(path.code)
        else:
            lora_layers = find_lora_layers(pasted(path.code)["model"])
            assert lora_layers is not None and len(lora_layers.layers) == 6


def test_a_head_of_another_size_is_asked_for(model_folder, tmp_path):
    three = load_base(model_folder, AutoModelForSequenceClassification, num_labels=3)
    three.save_pretrained(tmp_path / "three")
    config = {"task_type": "SEQ_CLS", "kind": AutoModelForSequenceClassification}
    folder = write_adapter(tmp_path / "adapter", tmp_path / "three", **config)
    found = diagnose(str(folder), str(model_folder))
    assert "num_labels=3)" in found.advice.change
    assert pasted(found.advice.change)["model"].get_base_model().num_labels == 3


def test_each_path_of_a_sentence_transformer_runs(model_folder, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="the extra `sentence` is absent")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    modules = [Transformer(str(model_folder)), Pooling(32, pooling_mode="mean")]
    base = tmp_path / "sentences"
    library.SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(base))
    folder = write_adapter(tmp_path / "adapter", base, kind=AutoModel, size=0.3)
    found = diagnose(str(folder), str(base))
    assert [path.applied for path in found.paths] == [False, True, True]
    for path in found.paths:
        assert find_lora_layers(pasted(path.code)["model"]) is not None
    plain = library.SentenceTransformer(str(base), device="cpu").encode("the film was great")
    adapted = pasted(found.advice.change)["model"].encode("the film was great")
    assert abs(plain - adapted).max() > 1e-3


def test_the_way_out_by_merging_runs(model_folder, tmp_path, monkeypatch):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    rewrite(folder, lambda tensors: {f"base_model.model.0.auto_{k}": x for k, x in tensors.items()})
    monkeypatch.chdir(tmp_path)
    pasted(diagnose(str(folder), str(model_folder)).advice.change)
    load_base(tmp_path / "merged")


def test_a_base_that_holds_the_adapter_is_loaded_without_it(model_folder, tmp_path):
    from loradrift.diagnose import merge_adapter

    folder = write_adapter(tmp_path / "adapter", model_folder)
    load_base(model_folder).save_pretrained(tmp_path / "merged")
    merge_adapter(folder, str(model_folder), tmp_path / "merged")
    found = diagnose(str(folder), str(tmp_path / "merged"))
    assert "merged and is applied again" in found.advice.reason
    assert find_lora_layers(pasted(found.advice.change)["model"]) is None


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_a_pickle_is_turned_into_safetensors(name, model_folder, tmp_path):
    from safetensors.torch import load_file

    folder = write_adapter(tmp_path / "adapter", model_folder)
    weights = load_file(folder / "adapter_model.safetensors")
    torch.save({key: x.clone() for key, x in weights.items()}, tmp_path / "pickle")
    (folder / "adapter_model.safetensors").unlink()
    (tmp_path / "pickle").rename(folder / name)
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 1
    pasted(found.advice.change)
    assert diagnose(str(folder), str(model_folder)).exit_code == 0


def test_what_is_printed_is_what_runs(model_folder, tmp_path, capsys):
    from loradrift.analysis.diagnose.page import show

    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    show(diagnose(str(folder), str(model_folder)))
    code = capsys.readouterr().out.partition("\nuse:\n")[2]
    pasted(code)  # unlike the parts above, with whatever the terminal made of its lines


def test_the_command_is_typed_with_quotes_where_hydra_needs_them(model_folder, tmp_path):
    assert override("adapter", "runs/a+b-1.0") == "adapter=runs/a+b-1.0"
    assert override("adapter", "a,b=3") == "'adapter=\"a,b=3\"'"
    assert diagnose_command("a b", "<its base>") == (
        "python analyze.py analysis=diagnose 'adapter=\"a b\"' base=<its base>"
    )
    folder = write_adapter(tmp_path / "adapter", model_folder)
    edit(folder, base_model_name_or_path=None)
    found = diagnose(str(folder), None)
    assert found.exit_code == 2 and found.advice.change.startswith("python analyze.py ")
