"""Model folders that cannot be trained are refused in a line that names key and remedy."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loradrift.config import UserError
from loradrift.data.base import read_lines
from loradrift.models import (
    check_path,
    check_vocabulary,
    load_architecture,
    load_backbone,
    load_tokenizer,
    num_embeddings,
    pad_token,
)
from loradrift.models.architecture import check_surplus

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.fixture
def copy(model, model_folder, tmp_path):
    """The model in a folder of its own."""
    shutil.copytree(model_folder, tmp_path / "copy")
    return replace(model, path=str(tmp_path / "copy"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_file_that_git_lfs_has_not_fetched_is_named(copy, name):
    Path(copy.path, name).write_text(POINTER)
    with pytest.raises(UserError, match=rf"model.path=.*/{name} is a git-lfs .* `git lfs pull`"):
        check_path(copy)


@pytest.mark.parametrize("name", ["train.tsv", "corpus.tokens.gz"])
def test_data_that_git_lfs_has_not_fetched_are_named(tmp_path, name):
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(UserError, match=rf"{name} is a git-lfs pointer"):
        read_lines(tmp_path / name)


def test_lines_end_in_cr_alone_only_where_there_is_no_lf(tmp_path):
    path = tmp_path / "x.tsv"
    for text, lines in (
        ("a\rb\r", ["a", "b", ""]),
        ("a\r\nb", ["a\r", "b"]),
        ("a\rb\n", ["a\rb", ""]),
    ):
        path.write_bytes(text.encode())
        assert read_lines(path) == lines


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"quantization_config": {"quant_method": "gptq"}},
            r"is quantised \(quantization_config: gp",
        ),
        (
            {"model_type": "x", "auto_map": {"AutoConfig": "x.X"}},
            r"needs code of its own \(auto_map",
        ),
        ({"model_type": "x"}, "has model_type=x, which transformers does not know"),
        ({"model_type": "vit"}, "is no causal language model: model_type=vit has none"),
    ],
)
def test_a_model_of_the_wrong_kind_is_named(copy, changes, message):
    path = Path(copy.path, "config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    for load in (load_architecture, lambda config: load_backbone(config, seed=0)):
        with pytest.raises(UserError, match=rf"model.path={copy.path}:? .*{message}|{message}"):
            load(copy)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weight_that_is_not_finite_is_named(copy, value):
    path = Path(copy.path, "model.safetensors")
    weights = load_file(path)
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="layers.1.mlp.up_proj.weight holds NaN or infinity"):
        load_backbone(copy, seed=0)


def test_tokens_without_an_embedding_are_refused_but_for_padding(model):
    num_rows = num_embeddings(load_architecture(model))
    padded = load_tokenizer(model)
    padded.add_special_tokens({"pad_token": "<more>"})
    check_vocabulary("here", padded, num_rows)
    assert padded.pad_token_id == num_rows and pad_token(padded, num_rows) == padded.eos_token_id
    words, ended = load_tokenizer(model), load_tokenizer(model)
    words.add_tokens(["film"])
    ended.add_special_tokens({"eos_token": "<end>"})
    for tokenizer, token in ((words, "film"), (ended, "<end>")):
        message = rf"tokenizer has {num_rows + 1} tokens and its embedding {num_rows} rows.*{token}"
        with pytest.raises(UserError, match=message):
            check_vocabulary("here", tokenizer, num_rows)


def test_a_padding_token_without_a_row_is_none_to_the_model(copy):
    path = Path(copy.path, "config.json")
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"pad_token_id": settings["vocab_size"]}))
    assert load_backbone(copy, seed=0).causal_lm.config.pad_token_id is None


def rewrite(copy, changes):
    """Change values of a model's config.json."""
    path = Path(copy.path, "config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"its config.json must hold settings, \{key: value\}, got a list"),
        ("{", "its config.json is no JSON"),
    ],
)
def test_a_config_that_holds_no_settings_is_named(copy, text, message):
    Path(copy.path, "config.json").write_text(text)
    with pytest.raises(UserError, match=f"^model.path={copy.path}: {message}"):
        check_path(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": ["a"]}, r"has model_type=\['a'\], which transformers does"),
        ({"num_attention_heads": 7}, "not a multiple of the number of attention heads .7."),
        ({"hidden_size": "32"}, "'hidden_size' expected int, got str .value: '32'"),
        ({"rope_parameters": [1]}, ""),
        ({"vocab_size": None}, ""),
        ({"hidden_act": "none-such"}, ""),
    ],
)
def test_a_config_with_a_value_that_no_model_has_is_one_line_with_the_reason(
    copy, changes, message
):
    rewrite(copy, changes)
    with pytest.raises(UserError, match=rf"^model.path={copy.path}.*config.json.*{message}") as e:
        load_backbone(replace(copy, weights="random"), seed=0)
    assert "\n" not in str(e.value) and not str(e.value).endswith(":")


def test_a_tokenizer_that_cannot_be_read_is_one_line(copy):
    Path(copy.path, "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"its tokenizer files: .*added_tokens"):
        load_tokenizer(copy)
    for path in Path(copy.path).glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UserError, match=r"it holds no tokenizer \(tokenizer.json\)$"):
        load_tokenizer(copy)


def test_weights_of_blocks_that_the_architecture_lacks_are_refused_in_one_line(copy, capfd):
    rewrite(copy, {"num_hidden_layers": 1})
    with pytest.raises(UserError, match=r"its weights hold model.layers.1\.\S+, for which"):
        load_backbone(copy, seed=0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("key", "harmful"),
    [
        ("model.layers.0.self_attn.q_proj.bias", True),
        ("model.layers.77.mlp.up_proj.weight", True),
        ("layers.77.mlp.up_proj.weight", True),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", False),
        ("model.layers.0.attn.bias", False),
        ("model.embeddings.position_ids", False),
        ("vision_tower.layers.77.weight", False),
    ],
)
def test_surplus_weights_are_refused_where_the_architecture_has_their_place(model, key, harmful):
    lm = load_backbone(model, seed=0).causal_lm
    if not harmful:
        check_surplus("here", lm, [key])
        return
    with pytest.raises(UserError, match=f"^here: its weights hold {key}, for which"):
        check_surplus("here", lm, [key])


def test_blocks_that_only_speed_up_decoding_are_no_lost_part(model):
    lm = load_backbone(model, seed=0).causal_lm
    more = [f"model.layers.{len(lm.model.layers) + n}.mlp.up_proj.weight" for n in (0, 1)]
    lm.config.num_nextn_predict_layers = 1
    check_surplus("here", lm, more[:1])
    with pytest.raises(UserError, match=more[1]):
        check_surplus("here", lm, more)
