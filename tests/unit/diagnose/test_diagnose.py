"""The diagnosis of a folder: its exit code, the failing test, and what it says to change."""

import json
import re
import shlex
import shutil

import adapter_cases as cases
import pytest
import torch
from adapter_cases import CLASSIFIER, CONFIG, WEIGHTS, diagnosed, edit, load_base, pasted
from hydra.core.override_parser.overrides_parser import OverridesParser
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from loradrift.adapters.lora_layers import find_lora_layers
from loradrift.analysis.diagnose.page import show
from loradrift.config import UserError
from loradrift.diagnose import diagnose, merge_adapter
from loradrift.diagnose.advice import diagnose_command, override
from loradrift.runs import Cell, RunRecord

KINDS = {
    "causal LM": {"task_type": "CAUSAL_LM"},
    "classifier": CLASSIFIER,
    "transformer": {"kind": AutoModel, "task_type": "FEATURE_EXTRACTION"},
}


@pytest.fixture
def strong(model_folder, tmp_path):
    """An adapter that changes much."""
    return cases.write_adapter(tmp_path / "strong", model_folder, size=0.3)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys", "ignore:.*PEFT", "ignore:Already")
@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_adapter_whose_code_runs_as_it_is_pasted(kind, model_folder, tmp_path):
    folder = tmp_path / 'an "adapter"'
    cases.write_adapter(folder, model_folder, size=0.3, **KINDS[kind])
    found = diagnosed(folder, model_folder)
    assert found.kind == kind
    assert {test.passed for test in found.tests} == {True}
    assert found.paths[0].applied and found.advice.change == found.paths[0].code
    quoted = json.dumps(str(folder))
    assert found.advice.change.endswith(f"PeftModel.from_pretrained(model, {quoted})")
    for path in found.paths:
        if path.error:  # what PEFT refuses, it refuses of the pasted code too
            with pytest.raises(AttributeError, match="prepare_inputs_for_generation"):
                pasted(path.code)
        else:
            lora_layers = find_lora_layers(pasted(path.code)["model"])
            assert lora_layers is not None and len(lora_layers.layers) == 6


def test_an_adapter_of_the_inner_transformer_is_not_taken_by_the_model(model_folder, tmp_path):
    folder = cases.write_adapter(tmp_path / "adapter", model_folder, kind=AutoModel, size=0.3)
    edit(folder, task_type="CAUSAL_LM")
    reason = "the adapter belongs to the transformer inside"
    found = diagnosed(folder, model_folder, 1, reason=reason, change="merge_adapter(")
    ignored = "on the model: cosine 1.000000, output changes by 0: not applied"
    assert ignored in found.tests[0].message


def test_a_small_effect_is_applied_to_the_base_that_the_adapter_names(model_folder, tmp_path):
    found = diagnosed(cases.write_adapter(tmp_path / "adapter", model_folder, size=3e-4))
    assert found.base == str(model_folder)
    assert "applied, its effect is this small" in found.tests[0].message


def test_keys_that_no_path_takes_are_merged(strong, model_folder, tmp_path, monkeypatch):
    cases.rewrite(strong, lambda ts: {f"base_model.model.0.auto_{k}": x for k, x in ts.items()})
    reason = "Merged into the base, its outputs are the adapter's to"
    change = f'merge_adapter("{strong}", "{model_folder}", "merged")'
    found = diagnosed(strong, model_folder, 1, reason=reason, change=change)
    assert {test.name: test.passed for test in found.tests}["module structure"] is False
    monkeypatch.chdir(tmp_path)
    pasted(found.advice.change)
    load_base(tmp_path / "merged")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged")("no")["input_ids"]
    layer = "layers.1.self_attn.q_proj."
    parts = {key.rpartition(layer)[2]: x for key, x in cases.tensors_of(strong).items()}
    change = 2 * parts["lora_B.weight"] @ parts["lora_A.weight"]
    key, expected = f"model.{layer}weight", load_base(model_folder).state_dict()
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    torch.testing.assert_close(merged[key], expected[key] + change)
    assert merge_adapter(strong, str(model_folder), tmp_path / "again").gap < 1e-3


NESTED = '{"r": ' + "[" * 100_000 + "]" * 100_000 + "}"
BROKEN = {
    "zero B": (cases.zero_b, "lora_B: B is zero in 6 of 6 modules"),
    "another rank": (lambda f: edit(f, r=8), "consistent: model.layers.0"),
    "truncated": (cases.truncate, "cannot be read"),
    "no JSON": (lambda f: (f / CONFIG).write_text("{"), "adapter_config.json cannot be read"),
    "deep": (lambda f: (f / CONFIG).write_text(NESTED), "json is damaged: it is nested too deeply"),
    "a huge rank": (lambda f: edit(f, r=10**400), f"{CONFIG}: r must be a positive"),
    "a huge alpha": (lambda f: edit(f, lora_alpha=10**400), "lora_alpha must be a positive"),
    "no LoRA": (lambda f: edit(f, peft_type="IA3"), "peft_type must be LORA, got IA3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name, folder, model_folder):
    harm, reason = BROKEN[name]
    harm(folder)
    found = diagnosed(folder, model_folder, 2 if name == "no LoRA" else 1, reason=reason)
    verdicts = {test.name: test.passed for test in found.tests}
    assert verdicts["weights" if name == "zero B" else "files"] is False
    if name == "zero B":
        assert "on the model: cosine 1.000000, output changes by 0" in found.tests[0].message
    assert "\n" not in found.advice.reason and found.advice.change


def test_an_adapter_that_overflows(folder, model_folder):
    cases.rewrite(folder, lambda tensors: {key: 1e30 * x for key, x in tensors.items()})
    reason = "the outputs are NaN or infinite with the adapter"
    diagnosed(folder, model_folder, 1, reason=reason)


def test_a_folder_that_is_no_adapter(tmp_path, model_folder):
    with pytest.raises(UserError, match="adapter=.*/nothing is no folder"):
        diagnose(str(tmp_path / "nothing"), None)
    with pytest.raises(UserError, match="holds no adapter: there is no adapter_config.json in"):
        diagnose(str(model_folder), None)


@pytest.mark.parametrize(("passed", "verdict"), [(True, "passes"), (None, "is not judged")])
def test_an_adapter_of_a_soft_prompts_encoder_is_judged_by_its_run(
    model_folder, tmp_path, passed, verdict
):
    place = {"method": "lora", "task": "reconstruction"}
    config = {"model": {"path": str(model_folder)}}
    own = {"passed": passed}
    said = rf"model/encoder is on the encoder of a soft prompt .*run.json, {verdict}$"
    cases.write_adapter(tmp_path / "run/model/encoder", model_folder)
    edit(tmp_path / "run/model/encoder", base_model_name_or_path=None)
    for certificate in (own, {"passed": True, "encoder": own}):
        record = RunRecord(coordinates=place, config=config, certificate=certificate)
        Cell(tmp_path / "run", record).save()
        for adapter in ("run", "run/model/encoder"):
            with pytest.raises(UserError, match=f"adapter=.*{adapter}: the adapter in .*{said}"):
                diagnose(str(tmp_path / adapter), None)
    shutil.copytree(tmp_path / "run/model/encoder", tmp_path / "loose")  # says nothing of a run
    assert "names no base model" in diagnose(str(tmp_path / "loose"), None).advice.reason


def test_what_cannot_be_merged_is_named(folder, model_folder, tmp_path):
    base = shutil.copytree(model_folder, tmp_path / "base")

    def refused(message: str, out=tmp_path / "merged") -> None:
        with pytest.raises(UserError, match=message):
            merge_adapter(folder, str(base), out)

    for out in (folder, base):
        refused(r"out=.* must be another folder than the adapter's", out)
    cases.rewrite(folder, cases.without("layers.1.self_attn.q_proj"))
    refused(r"it holds nothing for model\.layers\.1\.self_attn\.q_pro")
    cases.write_adapter(folder, model_folder)
    cases.zero_b(folder)
    refused("changes no output: there is nothing to merge")
    assert not (tmp_path / "merged").exists()


def test_a_run_is_judged_with_its_record(compute, tmp_path):
    folder, record = compute("method=lora", "seed=6", "method.optim.lr=1e-2")
    assert record.certificate["passed"] is True and record.certificate["seconds"] > 0
    assert diagnosed(folder).kind == "run"
    diagnosed(folder / "model")
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model/head.safetensors").unlink()
    diagnosed(copy, None, 1, reason="head.safetensors is not the file that was certified")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coordinates": {}}, "coordinates.method is missing or of another type"),
        ({"coordinates": []}, "coordinates must be an object, got list"),
        ({"config": None}, "config must be an object, got NoneType"),
        ({"config": {"model": "x"}}, "config.model is missing or of another type"),
        ({"fingerprints": {"base_model": 3}}, "fingerprints.base_model is missing or of another"),
        ({"certificate": []}, "certificate.files is missing or of another type"),
        ({"certificate": {"files": {"x": 3}}}, "certificate.files is missing or of another type"),
    ],
)
def test_a_damaged_record_is_named(changes, message, model_folder, tmp_path):
    cases.write_adapter(tmp_path / "run/model", model_folder)
    record = {"schema_version": 1, "status": "success", "config": {"model": {}}}
    record |= {"coordinates": {"method": "lora", "task": "sst2"}} | changes
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    for folder in ("run", "run/model"):
        with pytest.raises(UserError, match=r"run.json is damaged.*" + re.escape(message)):
            diagnose(str(tmp_path / folder), str(model_folder))


def test_the_offered_code_asks_for_a_head_of_another_size(model_folder, tmp_path):
    three = load_base(model_folder, AutoModelForSequenceClassification, num_labels=3)
    three.save_pretrained(tmp_path / "three")
    folder = cases.write_adapter(tmp_path / "adapter", tmp_path / "three", **CLASSIFIER)
    found = diagnosed(folder, model_folder, change="num_labels=3)")
    assert pasted(found.advice.change)["model"].get_base_model().num_labels == 3


@pytest.mark.parametrize("name", ["adapter_model.bin", WEIGHTS])
def test_the_offered_code_turns_a_pickle_into_safetensors(name, folder, model_folder):
    cases.pickled(folder, name)
    pasted(diagnosed(folder, model_folder, 1).advice.change)
    diagnosed(folder, model_folder)


def test_what_is_printed_is_what_runs(strong, model_folder, capsys):
    show(diagnosed(strong, model_folder))
    code = capsys.readouterr().out.partition("\nuse:\n")[2]
    pasted(code)  # unlike the parts above, with whatever the terminal made of its lines


def test_the_command_is_typed_with_quotes_where_hydra_needs_them(folder):
    assert override("adapter", "runs/a+b-1.0") == "adapter=runs/a+b-1.0"
    assert override("adapter", "a,b=3") == "'adapter=\"a,b=3\"'"
    for name in ('an "adapter"', "it's", r"back\slash", r"both \"", "é", "$x"):
        [typed] = shlex.split(override("adapter", name))
        assert OverridesParser.create().parse_overrides([typed])[0].value() == name
    command = "python analyze.py analysis=diagnose 'adapter=\"a b\"' base=<its base>"
    assert diagnose_command("a b", "<its base>") == command
    edit(folder, base_model_name_or_path=None)
    assert diagnosed(folder, None, 2).advice.change.startswith("python analyze.py ")
