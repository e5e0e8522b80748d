"""The backbone is the same object for every method, and says what is wrong with a folder."""

from dataclasses import replace

import pytest
import torch

from loradrift.config import FullFinetuneConfig, LoraConfig, ModelConfig, UserError
from loradrift.methods import make_trainable
from loradrift.models import (
    Backbone,
    Classifier,
    adapter_weights,
    export_model,
    load_backbone,
    load_tokenizer,
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
    trained = trainable_parameters(backbone)
    seven = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained} == seven
    assert len(trained) == 2 * 7 * 2


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"target_modules": ["q_proj", "v_prj"]},
            r"method.target_modules: v_prj matches no module\. Did you mean: v_proj\?",
        ),
        ({"target_modules": ["mlp"]}, "mlp is no linear layer; there are .*q_proj"),
        ({"target_modules": ["all-linear", "q_proj"]}, "stands alone, got all-linear, q"),
        ({"rank": 65}, "method.rank must be at most 32, the rank of .* layer, got 65"),
    ],
)
def test_what_lora_cannot_adapt_is_refused(backbone, change, message):
    with pytest.raises(UserError, match=message):
        make_trainable(backbone, replace(LORA, **change), seed=0)


@pytest.mark.filterwarnings("error")
def test_gpt_2_is_adapted_too_without_a_warning():
    from transformers import GPT2Config, GPT2LMHeadModel

    size = GPT2Config(vocab_size=64, n_positions=16, n_embd=32, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(size)
    make_trainable(Backbone(model), replace(LORA, target_modules=["c_attn"]), seed=0)
    [block] = model.transformer.h
    trained = {name for name, p in block.named_parameters() if p.requires_grad}
    assert trained == {f"attn.c_attn.lora_{side}.default.weight" for side in "AB"}
    with pytest.raises(UserError, match="rank must be at most 32, the rank of .* layer, got 33"):
        make_trainable(Backbone(model), replace(LORA, rank=33), seed=0)


@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_gradient_checkpointing_recomputes_blocks_and_gives_the_same_gradients(model, method):
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
        calls = []
        backbone.blocks[0].self_attn.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        backbone.encode(IDS).square().sum().backward()
        trained = trainable_parameters(backbone)
        gradients.append({name: p.grad for name, p in trained.items()})
        # once forward, once more for the backward pass if the block is recomputed there
        assert len(calls) == 1 + checkpointing
    torch.testing.assert_close(gradients[0], gradients[1])
    assert all(gradient.any() for gradient in gradients[1].values())


def test_an_untied_output_head_is_frozen_and_a_tied_one_is_not(backbone):
    backbone.freeze_output_head()
    assert backbone.causal_lm.get_output_embeddings().weight.requires_grad
    head = torch.nn.Linear(32, 300, bias=False)
    backbone.causal_lm.set_output_embeddings(head)
    backbone.freeze_output_head()
    assert not head.weight.requires_grad
    assert backbone.causal_lm.get_input_embeddings().weight.requires_grad


@pytest.mark.parametrize("init", ["default", "pissa"])
def test_an_exported_adapter_reproduces_the_model_on_the_base(backbone, model, tmp_path, init):
    from peft import PeftModel

    folder, tokenizer, head = tmp_path / "model", load_tokenizer(model), torch.nn.Linear(32, 2)
    make_trainable(backbone, replace(LORA, init=init), seed=0)
    initial = {k: v.clone() for k, v in adapter_weights(backbone.lm).items()}
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in trainable_parameters(backbone).values():
            p.add_(0.05 * torch.randn(p.shape, generator=draw))
    expected = backbone.eval().encode(IDS)
    export_model(folder, backbone, head, tokenizer, initial if init == "pissa" else None)
    assert torch.equal(backbone.eval().encode(IDS), expected)  # exporting changes nothing
    fresh = load_backbone(model, seed=0)
    fresh.lm = PeftModel.from_pretrained(fresh.causal_lm, folder)
    torch.testing.assert_close(fresh.eval().encode(IDS), expected, rtol=1e-4, atol=1e-5)
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_model.safetensors", "head.safetensors", "tokenizer.json"} <= names
    assert list(tmp_path.iterdir()) == [folder]
