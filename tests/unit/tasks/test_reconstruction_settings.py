"""What cannot be asked of ``task=reconstruction`` together, and blocks that LoRA is put on."""

import pytest
import torch
from reconstruction_cases import built, settings

from loradrift.config import LoraConfig, UserError
from loradrift.methods import make_trainable
from loradrift.models import load_backbone, trainable_parameters

TASK = "task=reconstruction"
ONLY = "task.first_token_weight=0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "bert"}, "task.encoder must be pca or mean_pool or queries, got bert"),
        ({"latent_bits": 12}, "task.latent_bits must be 32, 16, 8 or 4, got 12"),
        ({"num_latents": 0}, "task.num_latents must be positive, got 0"),
        ({"d_z": 1}, "task.d_z must be at least 2, got 1"),
        ({"d_z": None}, "task.d_z must be a number with task.encoder=queries, got null"),
        ({"kd_weight": -1.0}, "task.kd_weight must be at least 0, got -1.0"),
        (
            {"ce_tokens": 10, "kd_weight": 0.1},
            "task.ce_tokens must be at most 9, task.max_answer_tokens and the token that ends an",
        ),
        ({"ce_tokens": 3}, "task.ce_tokens has no effect: task.k_token_weight and task.kd_weight"),
        ({"adapt": "llm"}, "task.adapt must be decoder or encoder or both, got llm"),
        (
            {"encoder": "pca", "adapt": "both"},
            "task.adapt must be decoder unless task.encoder=queries, which alone has weights",
        ),
        (
            {"encoder": "pca", "encoder_layers": 3},
            "task.encoder_layers has no effect on task.encoder=pca",
        ),
        (
            {"reconstruction_weight": 0.0, "first_token_weight": 0.0},
            "task.reconstruction_weight, .*, task.kd_weight are all 0: nothing would be learned",
        ),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(UserError, match=message):
        settings(**changes)


def test_k_is_no_matter_where_no_loss_takes_k_tokens():
    assert settings(max_answer_tokens=1).ce_tokens > 2


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "pissa", "full_finetune"])
def test_what_only_reconstruction_would_train_is_refused(load, method):
    message = rf"method={method} would get no gradient: task.first_token_weight, .* are all 0"
    with pytest.raises(UserError, match=message):
        load(TASK, f"method={method}", ONLY)


@pytest.mark.parametrize(
    "typed",
    [("method=head_only", ONLY), ("method=lora", ONLY, "task.adapt=encoder"), ("method=lora",)],
)
def test_what_gets_a_gradient_is_not_refused(load, typed):
    assert load(TASK, *typed).task.name == "reconstruction"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            ("method=head_only", "task.adapt=both"),
            "task.adapt=both has no effect on method=head_only",
        ),
        (
            ("method=lora", "trainer=fsdp", "trainer.devices=2"),
            "task=reconstruction cannot be trained with trainer=fsdp",
        ),
        (
            ("method=lora", "task.adapt=encoder", "method.layers=2"),
            "method.layers has no effect on task.adapt=encoder",
        ),
        (
            ("method=lora", "task.adapt=encoder", "method.target_modules=[q_proj]"),
            "method.target_modules has no effect on task.adapt=encoder",
        ),
        (("method=lora", "method.layers=0"), "method.layers must be all, or a positive number"),
        (("method=lora", "method.layers=some"), "method.layers must be all, or a positive number"),
    ],
)
def test_what_does_not_go_together(load, typed, message):
    with pytest.raises(UserError, match=message):
        load(TASK, *typed)


@pytest.mark.parametrize("targets", [["all-linear"], ["q_proj", "v_proj"]])
@pytest.mark.parametrize(("layers", "blocks"), [(1, {"0"}), (2, {"0", "1"}), ("all", {"0", "1"})])
def test_the_first_blocks_alone_are_adapted(model, targets, layers, blocks):
    backbone = load_backbone(model, seed=0)
    method = LoraConfig(name="lora", rank=2, layers=layers, target_modules=targets)
    make_trainable(backbone, method, seed=0)
    adapted = [name for name in trainable_parameters(backbone) if "lora_A" in name]
    assert {name.split(".layers.")[1].split(".")[0] for name in adapted} == blocks
    assert len(adapted) == len(blocks) * (7 if targets == ["all-linear"] else 2)


def test_all_blocks_are_the_same_adapter_with_and_without_their_number(model):
    found = []
    for layers in (2, "all"):
        backbone = load_backbone(model, seed=0)
        make_trainable(backbone, LoraConfig(name="lora", rank=2, layers=layers), seed=0)
        found.append(trainable_parameters(backbone))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_more_blocks_than_there_are_is_an_error_with_the_depth(model):
    message = "method.layers must be at most 2, the model's blocks, got 3"
    with pytest.raises(UserError, match=message):
        make_trainable(
            load_backbone(model, seed=0), LoraConfig(name="lora", rank=2, layers=3), seed=0
        )


@pytest.mark.parametrize("adapt", ["encoder", "both"])
def test_lora_on_the_encoder_freezes_what_is_below_it(model, tmp_path, adapt):
    task = built(model, tmp_path, adapt=adapt)
    method = LoraConfig(name="lora", rank=2, alpha=4)
    before = trainable_parameters(task.model)
    task.adapt_head(method, 0)
    after = trainable_parameters(task.model)
    encoder = [name for name in after if name.startswith("head.encoder")]
    assert encoder and all("lora_" in name for name in encoder)
    assert {name for name in after if "head.adapter" in name} == {
        name for name in before if "head.adapter" in name
    }
    large = LoraConfig(name="lora", rank=40)
    other = built(model, tmp_path, adapt=adapt)
    with pytest.raises(UserError, match="method.rank must be at most 32, the rank of the encoder"):
        other.adapt_head(large, 0)
    with pytest.raises(UserError, match="method.init=pissa takes its first weights out of those"):
        other.adapt_head(LoraConfig(name="pissa", init="pissa"), 0)
