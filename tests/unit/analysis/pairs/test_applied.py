"""Every kind of model is scored with the adapter certified; what is not applied is refused."""

from collections.abc import Callable

import adapter_cases as cases
import numpy as np
import pytest
import torch
from adapter_cases import CLASSIFIER, load_adapter, rewrite, write_adapter
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from loradrift.analysis.pairs.page import comparison_json
from loradrift.analysis.pairs.reading import read_pairs
from loradrift.config import UserError

FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def cosines(pairs_file, embed: Callable[[str], np.ndarray]):
    """The cosines of all pairs, about."""
    sides = [(embed(pair.text1), embed(pair.text2)) for pair in read_pairs(pairs_file)]
    values = [float(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in sides]
    return pytest.approx(values, abs=1e-6)


def one_by_one(model, tokenizer, last: list[int]) -> Callable[[str], np.ndarray]:
    """Embed a text without padding, batches or our code, between its special tokens."""

    def embed(text: str) -> np.ndarray:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            states = model(torch.tensor([[1, *ids, *last]]), output_hidden_states=True)
        return states.hidden_states[-1][0, 1 : 1 + len(ids)].double().numpy().mean(0)

    return embed


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_scores_are_those_of_peft(compare, pairs_file, adapter, model_folder, config):
    folder = adapter(**config)
    scores = compare(folder).scores
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    baseline, adapted = scores["baseline"].tolist(), scores["adapter"].tolist()
    assert baseline == cosines(pairs_file, one_by_one(model, tokenizer, []))
    model = load_adapter(folder, model_folder)
    assert adapted == cosines(pairs_file, one_by_one(model, tokenizer, []))
    assert np.abs(np.subtract(baseline, adapted)).max() > 1e-3
    assert baseline[3] == pytest.approx(1, abs=1e-12)  # the same text twice


ENCODERS = {
    "classifier": CLASSIFIER,
    "transformer": {"kind": AutoModel, "task_type": "FEATURE_EXTRACTION"},
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_has_special_tokens_of_its_own(
    kind, compare, pairs_file, model_folder, tmp_path
):
    tokenizer = AutoTokenizer.from_pretrained(model_folder, cls_token="<s>", sep_token="</s>")
    torch.manual_seed(0)
    base = cases.write_base(tmp_path / "bert", "bert", AutoModel, vocab_size=len(tokenizer))
    tokenizer.save_pretrained(base)
    options = ENCODERS[kind] | {"target_modules": ["query", "value"], "size": 0.3}
    folder = write_adapter(tmp_path / "adapter", base, **options)
    found = compare(folder, base)
    plain, adapted = AutoModel.from_pretrained(base), load_adapter(folder, base, options["kind"])
    for name, model in (("baseline", plain), ("adapter", adapted)):
        expected = cosines(pairs_file, one_by_one(model, tokenizer, [2]))
        assert found.scores[name].tolist() == expected
    assert found.warnings == [] and (found.scores["baseline"] != found.scores["adapter"]).any()
    assert comparison_json(found)["model_kind"] == kind


def test_a_sentence_transformer_is_scored_by_encode(compare, pairs_file, model_folder, tmp_path):
    base = cases.write_sentence_base(tmp_path / "sentences", model_folder)
    options = {"kind": AutoModel, "target_modules": ["q_proj", "v_proj"], "size": 0.3}
    folder = write_adapter(tmp_path / "adapter", base, **options)
    found, model = compare(folder, base), cases.sentence_model(base)

    def embed(text: str) -> np.ndarray:
        return model.encode(text).astype(float)

    assert found.scores["baseline"].tolist() == cosines(pairs_file, embed)
    model.load_adapter(str(folder))
    assert found.scores["adapter"].tolist() == cosines(pairs_file, embed)
    facts = comparison_json(found)
    # on the wrapper it would not be applied
    assert facts["loading_path"] == "on the inner transformer" and found.warnings == []
    assert facts["certificate"]["passed"] and facts["model_kind"] == "sentence-transformers"
    pairs_file.write_text(f"text1,text2,label\n{'the film ' * 99},no,1\nyes,no,0\n")
    assert compare(folder, base).num_truncated == 1  # encode cuts it


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (cases.without(FIRST), "keys: adapter_model.safetensors has no lora_A for"),
        (lambda w: {key.replace("0.self_attn.q_proj", "0.self_attn.qq"): w[key] for key in w},
         "consistent: model.layers.0.self_attn.qq has keys"),
        (lambda w: {f"base_model.model.{key}": x for key, x in w.items()},
         "keys: 4 of 4 modules .* the prefix was put there once too often"),
        (lambda w: w | {FIRST: w[FIRST].T},
         "consistent: model.layers.0.self_attn.q_proj: B .* do not fit the rank 4"),
        (lambda w: w | {f"{FIRST[:-18]}score.weight": torch.zeros(2, 32)}, "keys: 1 of 5 mo"),
    ],
)  # fmt: skip
def test_what_no_path_applies_is_refused_with_its_check(compare, adapter, change, check):
    folder = adapter()
    rewrite(folder, change)
    with pytest.raises(UserError, match=f"is not applied to .*: {check}") as error:
        compare(folder)
    assert f"`python analyze.py analysis=diagnose adapter={folder} base=" in str(error.value)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"r": 8}, r"consistent: .* do not fit the rank 8"),
        ({"target_modules": ["q_proj"]}, r"consistent: .*v_proj has keys .* \(2 such\)"),
        ({"peft_type": "IA3"}, r"adapter_config.json: peft_type must be LORA, got IA3"),
        ({"peft_type": 7}, r"adapter_config.json: peft_type must be LORA, got 7"),
    ],
)
def test_settings_that_do_not_fit_are_named(compare, adapter, edits, message):
    folder = adapter()
    cases.edit(folder, **edits)
    with pytest.raises(UserError, match=message):
        compare(folder)


def test_no_pickle_is_loaded_and_what_is_damaged_is_named(compare, adapter):
    folder = adapter()
    path = folder / cases.WEIGHTS

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            compare(folder)

    rewrite(folder, lambda weights: weights | {FIRST: weights[FIRST] * torch.nan})
    refused(f"{FIRST} holds NaN or infinity")
    path.write_bytes(path.read_bytes()[:200])
    refused(r"adapter_model.safetensors cannot be read")
    torch.save({}, path)
    refused(r"adapter_model.safetensors is a pickle under the name")
    path.rename(path.with_suffix(".bin"))
    refused(r"adapter_model.bin is a pickle")


@pytest.mark.parametrize(
    "options", [{"target_modules": ["embed_tokens", "q_proj"]}, {"modules_to_save": ["norm"]}]
)
def test_embeddings_and_whole_modules_have_their_place(compare, adapter, options):
    assert compare(adapter(**options)).warnings == []


def test_an_adapter_that_is_partly_silent_is_scored_with_a_warning(compare, adapter):
    folder = adapter()
    rewrite(folder, lambda w: {key: x * ("0.self_attn.q_proj" not in key) for key, x in w.items()})
    found = compare(folder)
    [line] = found.warnings
    assert "lora_B: B is zero in 1 of 4 modules" in line and "analysis=diagnose" in line
    assert (found.scores["baseline"] != found.scores["adapter"]).any()
