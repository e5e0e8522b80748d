"""The backbone is the same object for every method, and says what is wrong with a folder."""

import shutil
from dataclasses import replace

import pytest
import torch

from loradrift.config import FullFinetuneConfig, LoraConfig, ModelConfig, UserError
from loradrift.methods import make_trainable
from loradrift.models import (
    Classifier,
    adapter_weights,
    check_path,
    export_model,
    load_backbone,
    load_tokenizer,
    model_fingerprint,
    trainable_parameters,
)

FULL = FullFinetuneConfig(name="full_finetune")
LORA = LoraConfig(name="lora", rank=4, alpha=8)
IDS = torch.tensor([[1, 40, 41, 42, 43, 3, 3, 3], [1, 50, 51, 52, 53, 54, 55, 56]])


@pytest.fixture
def backbone(model):
    return load_backbone(model, seed=0)


def test_master_weights_are_fp32(shared):
    stored_as_half = ModelConfig(name="local", path=str(shared / "models" / "base-3M"))
    parameters = load_backbone(stored_as_half, seed=0).parameters()
    assert {p.dtype for p in parameters} == {torch.float32}


def test_padding_on_the_right_changes_nothing(backbone):
    backbone.eval()
    short, long = backbone.encode(IDS[:1, :5]), backbone.encode(IDS[:1])
    torch.testing.assert_close(long[:, :5], short)
    other = IDS[:1].clone()
    other[0, 5:] = 99
    assert torch.equal(backbone.encode(other)[:, :5], long[:, :5])


def test_vectors_of_tokens_are_encoded_as_the_tokens(backbone):
    embeds = backbone.causal_lm.get_input_embeddings()(IDS)
    assert torch.equal(backbone.encode(embeds=embeds), backbone.encode(IDS))
    other = embeds + torch.randn(embeds.shape, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(backbone.encode(embeds=other), backbone.encode(IDS))
    for both in ({"input_ids": IDS, "embeds": embeds}, {}):
        with pytest.raises(ValueError, match="exactly one of input_ids and embeds"):
            backbone.encode(**both)


def test_a_mask_hides_padding_on_the_left(backbone):
    padded = torch.cat([torch.full((2, 3), 3), IDS[:, :5]], dim=1)
    mask = torch.arange(8) >= torch.tensor([[3], [3]])
    hidden = backbone.encode(padded, mask=mask)[:, 3:]
    torch.testing.assert_close(hidden, backbone.encode(IDS[:, :5]))
    assert not torch.allclose(backbone.encode(padded)[:, 3:], hidden)


def test_the_head_reads_the_last_real_token(backbone):
    classifier = Classifier(backbone.eval(), 2, seed=0)
    mask = IDS != 3
    hidden = backbone.encode(IDS)
    expected = classifier.head(torch.stack([hidden[0, 4], hidden[1, 7]]))
    torch.testing.assert_close(classifier(IDS, mask), expected)


def test_the_head_is_the_same_for_every_method(backbone):
    weights = [Classifier(backbone, 2, seed=5).head.weight for _ in range(2)]
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], Classifier(backbone, 2, seed=6).head.weight)


@pytest.mark.parametrize(
    "method",
    [
        LORA,
        replace(LORA, rslora=True),
        replace(LORA, dora=True),
        replace(LORA, init="gaussian"),
        replace(LORA, init="pissa"),
        replace(LORA, target_modules=["q_proj", "v_proj"]),
    ],
)
def test_an_adapter_starts_as_the_base_model_and_alone_trains(backbone, method):
    before = backbone.eval().encode(IDS)
    make_trainable(backbone, method, seed=0)
    torch.testing.assert_close(backbone.eval().encode(IDS), before, rtol=1e-4, atol=1e-5)
    trained = trainable_parameters(backbone)
    assert trained and all("lora_" in name for name in trained)
    assert len(list(backbone.blocks)) == 2  # found below PEFT's wrapper


def test_all_linear_layers_are_adapted_and_the_output_head_is_not(backbone):
    make_trainable(backbone, LORA, seed=0)
    adapted = {name.split(".")[-4] for name in trainable_parameters(backbone)}
    seven = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {
        name.split(".lora_")[0].rpartition(".")[2] for name in trainable_parameters(backbone)
    } == seven, adapted
    assert len(trainable_parameters(backbone)) == 2 * 7 * 2


def test_the_seed_draws_the_adapter_and_leaves_torch_alone(model):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        backbone = load_backbone(model, seed=0)
        make_trainable(backbone, LORA, seed=seed)
        drawn.append(next(iter(adapter_weights(backbone.lm).values())))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_target_that_matches_nothing_suggests_the_nearest(backbone):
    method = replace(LORA, target_modules=["q_proj", "v_prj"])
    message = "method.target_modules: v_prj matches no module. Did you mean: v_proj?"
    with pytest.raises(UserError, match=message):
        make_trainable(backbone, method, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_modules": ["mlp"]}, "mlp is no linear layer; there are .*q_proj"),
        (
            {"target_modules": ["all-linear", "q_proj"]},
            "all-linear stands alone, got all-linear, q",
        ),
        ({"rank": 65}, "method.rank must be at most 32, the rank of .* layer, got 65"),
    ],
)
def test_what_lora_cannot_adapt_is_refused(backbone, change, message):
    with pytest.raises(UserError, match=message):
        make_trainable(backbone, replace(LORA, **change), seed=0)


@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_gradient_checkpointing_gives_the_same_gradients(model, method):
    gradients = []
    for checkpointing in (False, True):
        backbone = load_backbone(model, seed=0)
        if checkpointing:
            backbone.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
        make_trainable(backbone, method, seed=0)
        with torch.no_grad():
            for name, p in backbone.named_parameters():
                if "lora_B" in name:
                    p.fill_(0.01)
        backbone.train().encode(IDS).square().sum().backward()
        trained = trainable_parameters(backbone)
        gradients.append({name: p.grad for name, p in trained.items()})
    torch.testing.assert_close(gradients[0], gradients[1])
    assert all(gradient.any() for gradient in gradients[1].values())


def test_gradient_checkpointing_recomputes_pretrained_blocks(model):
    backbone = load_backbone(model, seed=0)
    backbone.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    make_trainable(backbone, LORA, seed=0)
    calls = []
    backbone.blocks[0].self_attn.register_forward_hook(lambda *_: calls.append(1))
    backbone.encode(IDS).square().sum().backward()
    assert len(calls) == 2  # once forward, once more for the backward pass


def test_an_untied_output_head_is_frozen_and_a_tied_one_is_not(backbone):
    backbone.freeze_output_head()
    assert backbone.causal_lm.get_output_embeddings().weight.requires_grad
    head = torch.nn.Linear(32, 300, bias=False)
    backbone.causal_lm.set_output_embeddings(head)
    backbone.freeze_output_head()
    assert not head.weight.requires_grad
    assert backbone.causal_lm.get_input_embeddings().weight.requires_grad


@pytest.mark.parametrize("init", ["default", "pissa"])
def test_an_exported_adapter_reproduces_the_model_on_the_plain_base(
    backbone, model, tmp_path, init
):
    from peft import PeftModel

    make_trainable(backbone, replace(LORA, init=init), seed=0)
    initial = {k: v.clone() for k, v in adapter_weights(backbone.lm).items()}
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in trainable_parameters(backbone).values():
            p.add_(0.05 * torch.randn(p.shape, generator=draw))
    expected = backbone.eval().encode(IDS)
    export_model(
        tmp_path / "model",
        backbone,
        torch.nn.Linear(32, 2),
        load_tokenizer(model),
        initial if init == "pissa" else None,
    )
    assert torch.equal(backbone.eval().encode(IDS), expected)  # exporting changes nothing
    fresh = load_backbone(model, seed=0)
    fresh.lm = PeftModel.from_pretrained(fresh.causal_lm, tmp_path / "model")
    torch.testing.assert_close(fresh.eval().encode(IDS), expected, rtol=1e-4, atol=1e-5)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"adapter_model.safetensors", "head.safetensors", "tokenizer.json"} <= names
    assert not [path for path in tmp_path.iterdir() if path.name != "model"]


def test_a_folder_that_is_no_model_is_named(tmp_path, model, model_folder):
    here = ModelConfig(name="local", path=str(tmp_path))
    with pytest.raises(UserError, match="is no model: it has no config.json"):
        check_path(here)
    shutil.copy(model_folder / "config.json", tmp_path)
    with pytest.raises(UserError, match="holds no weights"):
        check_path(here)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"weights as a pickle \(pytorch_model.bin\)"):
        load_backbone(here, seed=0)
    check_path(replace(here, weights="random"))


def test_a_damaged_weight_file_is_named(tmp_path, model_folder):
    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_backbone(ModelConfig(name="local", path=str(tmp_path)), seed=0)


def test_weights_that_do_not_fit_are_no_random_start(tmp_path, model_folder):
    from safetensors.torch import load_file, save_file

    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    renamed = {key.replace("layers.1", "layerz.1"): value for key, value in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    here = ModelConfig(name="local", path=str(tmp_path))
    with pytest.raises(UserError, match=r"9 parameters have no weights that fit, model.layers.1"):
        load_backbone(here, seed=0)


def test_a_hub_name_without_a_network_says_what_to_do():
    absent = ModelConfig(name="tinyllama", path="nobody/nothing")
    with pytest.raises(UserError, match="cannot be had from the hub .* use model=tiny"):
        load_tokenizer(absent)
    with pytest.raises(UserError, match="cannot be had from the hub"):
        load_backbone(absent, seed=0)


def test_the_fingerprint_is_of_the_weights_not_of_the_folder(model, model_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    same = replace(model, path=str(copy))
    first = model_fingerprint(model, seed=0, cache=tmp_path)
    assert model_fingerprint(same, seed=1, cache=tmp_path) == first
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert model_fingerprint(same, seed=0, cache=tmp_path) != first
    random = replace(model, weights="random")
    assert model_fingerprint(random, seed=0, cache=tmp_path) not in (
        first,
        model_fingerprint(random, seed=1, cache=tmp_path),
    )
