"""Every kind of model is scored with the adapter certified; what is not applied is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from adapter_cases import edit
from safetensors.torch import load_file, save_file

from loradrift.analysis.pairs.comparison import compare_pairs, comparison_json
from loradrift.analysis.pairs.reading import read_pairs
from loradrift.config import UserError

FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
SENTENCES = "the extra `sentence` is not here"

RNG = np.random.default_rng(0)


def mutate(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "adapter_model.safetensors"
    weights = {key: x.clone() for key, x in load_file(path).items()}
    change(weights)
    save_file(weights, path)


def rename(weights: dict[str, torch.Tensor], new: Callable[[str], str]) -> None:
    for key in list(weights):
        weights[new(key)] = weights.pop(key)


def cosines(pairs_file: Path, embed: Callable[[str], np.ndarray]) -> list[float]:
    sides = [(embed(pair.text1), embed(pair.text2)) for pair in read_pairs(pairs_file)]
    return [float(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in sides]


def wrap(model, folder: Path, **options):
    """A moved adapter of ``model`` in ``folder``, and the model with it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **options)).eval()
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data += 0.3 * torch.randn(parameter.shape)
    adapted.save_pretrained(folder)
    return adapted


@pytest.mark.parametrize("task_type", ["SEQ_CLS", "FEATURE_EXTRACTION"])
def test_an_encoder_reads_both_ways_between_its_own_special_tokens(
    task_type, pairs_file, model_folder, tmp_path
):
    from transformers import (
        AutoModel,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        BertConfig,
        BertModel,
    )

    base, folder = tmp_path / "bert", tmp_path / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(model_folder, cls_token="<s>", sep_token="</s>")
    tokenizer.save_pretrained(base)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), intermediate_size=64, **sizes)).save_pretrained(
        base
    )
    loader = AutoModelForSequenceClassification if task_type == "SEQ_CLS" else AutoModel
    plain = AutoModel.from_pretrained(base).eval()
    adapted = wrap(
        loader.from_pretrained(base),
        folder,
        target_modules=["query", "value"],
        task_type=task_type,
    ).get_base_model()
    found = compare_pairs(pairs_file, str(folder), str(base), RNG)

    def embed(model):
        def one(text: str) -> np.ndarray:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                states = model(input_ids=torch.tensor([[1, *ids, 2]])).last_hidden_state
            return states[0, 1:-1].double().numpy().mean(0)

        return one

    inner = getattr(adapted, "bert", adapted)
    assert found.scores["baseline"].tolist() == pytest.approx(
        cosines(pairs_file, embed(plain)), abs=1e-6
    )
    assert found.scores["adapter"].tolist() == pytest.approx(
        cosines(pairs_file, embed(inner)), abs=1e-6
    )
    assert found.warnings == [] and (found.scores["baseline"] != found.scores["adapter"]).any()
    kind = "classifier" if task_type == "SEQ_CLS" else "transformer"
    assert comparison_json(found)["model_kind"] == kind


def test_a_sentence_transformer_is_scored_by_encode(pairs_file, model_folder, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason=SENTENCES)
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoModel

    base, folder = tmp_path / "sentences", tmp_path / "adapter"
    modules = [Transformer(str(model_folder)), Pooling(32, pooling_mode="mean")]
    library.SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(base))
    wrap(AutoModel.from_pretrained(base), folder, target_modules=["q_proj", "v_proj"])
    found = compare_pairs(pairs_file, str(folder), str(base), RNG)
    model = library.SentenceTransformer(str(base), device="cpu")
    assert found.scores["baseline"].tolist() == pytest.approx(
        cosines(pairs_file, lambda text: model.encode(text).astype(float)), abs=1e-6
    )
    model.load_adapter(str(folder))
    assert found.scores["adapter"].tolist() == pytest.approx(
        cosines(pairs_file, lambda text: model.encode(text).astype(float)), abs=1e-6
    )
    facts = comparison_json(found)
    # on the wrapper it would not be applied
    assert facts["loading_path"] == "on the inner transformer" and found.warnings == []
    assert facts["certificate"]["passed"] and facts["model_kind"] == "sentence-transformers"


def test_texts_that_encode_cuts_are_counted(pairs_file, model_folder, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason=SENTENCES)
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoModel

    base, folder = tmp_path / "sentences", tmp_path / "adapter"
    modules = [Transformer(str(model_folder)), Pooling(32, pooling_mode="mean")]
    library.SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(base))
    wrap(AutoModel.from_pretrained(base), folder, target_modules=["q_proj"])
    pairs_file.write_text(f"text1,text2,label\n{'the film ' * 99},no,1\nyes,no,0\n")
    assert compare_pairs(pairs_file, str(folder), str(base), RNG).num_truncated == 1


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda w: w.pop(FIRST), "keys: adapter_model.safetensors has no lora_A for"),
        (
            lambda w: rename(w, lambda key: key.replace("0.self_attn.q_proj", "0.self_attn.qq")),
            "consistent: model.layers.0.self_attn.qq has keys",
        ),
        (
            lambda w: rename(w, lambda key: f"base_model.model.{key}"),
            "keys: 4 of 4 modules .* the prefix was put there once too often",
        ),
        (
            lambda w: w.update({FIRST: w[FIRST].T.contiguous()}),
            "consistent: model.layers.0.self_attn.q_proj: B .* do not fit the rank 4",
        ),
        (lambda w: w.update({f"{FIRST[:-18]}score.weight": torch.zeros(2, 32)}), "keys: 1 of 5 mo"),
    ],
)
def test_what_no_path_applies_is_refused_with_its_check(pairs_file, adapter, change, check):
    folder = adapter()
    mutate(folder, change)
    with pytest.raises(UserError, match=f"is not applied to .*: {check}") as error:
        compare_pairs(pairs_file, str(folder), None, RNG)
    assert f"`python analyze.py analysis=diagnose adapter={folder} base=" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 8}, r"consistent: .* do not fit the rank 8"),
        ({"target_modules": ["q_proj"]}, r"consistent: .*v_proj has keys .* \(2 such\)"),
        ({"peft_type": "IA3"}, r"adapter_config.json: peft_type must be LORA, got IA3"),
        ({"peft_type": 7}, r"adapter_config.json: peft_type must be LORA, got 7"),
    ],
)
def test_settings_that_do_not_fit_are_named(pairs_file, adapter, settings, message):
    folder = adapter()
    edit(folder, **settings)
    with pytest.raises(UserError, match=message):
        compare_pairs(pairs_file, str(folder), None, RNG)


def test_no_pickle_is_loaded_and_what_is_damaged_is_named(pairs_file, adapter):
    folder = adapter()
    path = folder / "adapter_model.safetensors"

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            compare_pairs(pairs_file, str(folder), None, RNG)

    mutate(folder, lambda weights: weights[FIRST].fill_(torch.nan))
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
def test_embeddings_and_whole_modules_have_their_place(pairs_file, adapter, options):
    assert compare_pairs(pairs_file, str(adapter(**options)), None, RNG).warnings == []


def test_an_adapter_that_is_partly_silent_is_scored_with_a_warning(pairs_file, adapter):
    folder = adapter()
    mutate(folder, lambda w: [x.zero_() for key, x in w.items() if "0.self_attn.q_proj" in key])
    found = compare_pairs(pairs_file, str(folder), None, RNG)
    [line] = found.warnings
    assert "lora_B: B is zero in 1 of 4 modules" in line and "analysis=diagnose" in line
    assert (found.scores["baseline"] != found.scores["adapter"]).any()
