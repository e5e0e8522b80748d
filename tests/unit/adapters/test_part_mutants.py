"""Whatever an adapter trained is missed by its own check: in memory, and in use."""

import adapter_cases as cases
import pytest
import torch
from adapter_cases import (
    WEIGHTS,
    caught,
    certificate_of,
    load_adapter,
    write_adapter,
)
from part_cases import EMBEDDING, KINDS, ROWS, Q, base_with_biases, parameters, zero  # noqa: F401
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.utils.other import AuxiliaryTrainingWrapper

from loradrift.adapters import certify


def place(model, name):
    return model.base_model.model.get_submodule(name)


def off(kind):
    """Switch off everything of one class, and nothing else."""

    def mutate(model):
        found = [module for module in model.modules() if isinstance(module, kind)]
        assert found
        for module in found:
            module._disable_adapters = True

    return mutate


def switch_off(name):
    return lambda model: setattr(place(model, name), "_disable_adapters", True)


def another_head_is_active(model):
    place(model, "lm_head").update("other")
    place(model, "lm_head")._active_adapter = ["other"]


def goes_around(name):
    """As a wrapper whose own forward pass was replaced."""

    def mutate(model):
        wrapper = place(model, name)
        wrapper.forward = wrapper.original_module.__call__

    return mutate


def embedding_is_passed_by(model):
    layer = place(model, EMBEDDING)
    layer.forward = layer.base_layer.forward


def embedding_counts_twice(model):
    layer = place(model, EMBEDDING)
    apply = layer.forward
    layer.forward = lambda ids: 2 * apply(ids) - layer.base_layer(ids)


def taken_out(name):
    """Put the base's own module back, without its wrapper."""

    def mutate(model):
        original = place(model, name).original_module
        model.base_model.model.set_submodule(name, original)

    return mutate


def nan(p):
    p.view(-1)[0] = torch.nan


def constant_output(model):
    layer = place(model, "model.layers.1")
    layer.register_forward_hook(lambda module, inputs, output: 0 * output)


def other_tokens(model):
    place(model, EMBEDDING).token_adapter.token_indices["default"] = [5, 6, 7]


def merged_times(share):
    """Put the change into the base weights so many times."""

    def mutate(model):
        for layer in cases.lora_layers(model):
            layer.base_layer.weight.add_(share * layer.get_delta_weight("default"))

    return mutate


def another_embedding_adapter(p):
    p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))


MEMORY = {
    "embedding's B is zero": ("embedding", zero("lora_embedding_B"),
        "weights", f"B A of {EMBEDDING} in memory is not that of"),
    "embedding's A of another adapter": (
        "embedding", parameters("lora_embedding_A", another_embedding_adapter),
        "weights", f"B A of {EMBEDDING} in memory is not that of"),
    "embedding's adapter off": ("embedding", switch_off(EMBEDDING),
        "active", f"disabled in 1 of 3 layers, {EMBEDDING}: call enable_adapter_layers()"),
    "embedding passed by": ("embedding", embedding_is_passed_by,
        "effect", f"does not go through {EMBEDDING}, which is adapted"),
    "embedding twice": ("embedding", embedding_counts_twice,
        "effect", f"{EMBEDDING} changes its output by 2.000 times what"),
    "embedding's scale": (
        "embedding", lambda m: place(m, EMBEDDING).scaling.update(default=1.0),
        "scale", f"{EMBEDDING} multiplies with 1, and alpha/r of"),
    "embedding merged": ("embedding", lambda m: place(m, EMBEDDING).merge(),
        "merged_once", f"1 layers hold default merged into their weights, {EMBEDDING}"),
    "one layer off": ("plain", switch_off(Q),
        "active", f"disabled in 1 of 6 layers, {Q}: call enable_adapter_layers()"),
    "a tenth of a per cent": (
        "plain", parameters(f"{Q}.lora_B", lambda p: p.mul_(1.001)),
        "weights", f"B A of {Q} in memory is not that of {WEIGHTS}: they differ by 0.001"),
    "all biases zero": ("all biases", zero("bias"), "weights", "bias in memory is not the file's"),
    "a layer's bias zero": ("own biases", zero(f"{Q}.base_layer.bias"),
        "weights", f"{Q}.base_layer.bias in memory is not the file's: they differ by 1 of it"),
    "a bias of no adapted layer": ("all biases", zero("o_proj.bias"),
        "weights", "o_proj.bias in memory is not the file's"),
    "rows zero": ("rows", zero("trainable_tokens_delta"),
        "weights", f"{ROWS} in memory is not the file's: they differ by 1 of it"),
    "rows of other tokens": (
        "rows", parameters("trainable_tokens_delta", lambda p: p.copy_(p.flip(0))),
        "weights", f"{ROWS} in memory is not the file's"),
    "rows' wrapper off": ("rows", off(AuxiliaryTrainingWrapper),
        "active", f"disabled in 1 of 8 layers, {EMBEDDING}: call"),
    "rows' layer off": ("rows", off(TrainableTokensLayer),
        "active", f"disabled in 1 of 8 layers, {EMBEDDING}.token_adapter: call"),
    "rows gone around": ("rows", goes_around(EMBEDDING),
        "effect", f"{EMBEDDING} does not give the rows that were trained for its tokens"),
    "rows taken out": ("rows", taken_out(EMBEDDING),
        "keys", f"1 of 7 modules in {WEIGHTS} are not in the model: {ROWS}"),
    "rows merged": ("rows", lambda m: place(m, EMBEDDING).token_adapter.merge(),
        "merged_once", f"1 layers hold default merged into their weights, {EMBEDDING}"),
    "head zero": ("head", zero("modules_to_save.default.weight"),
        "head", "weight in memory is not the file's: they differ by 1 of it"),
    "head moved by a thousandth": (
        "head", parameters("lm_head.modules_to_save", lambda p: p.mul_(1.001)),
        "head", "lm_head.weight in memory is not the file's: they differ by 0.001 of it"),
    "a saved norm": ("head", parameters("norm.modules_to_save", lambda p: p.add_(0.1)),
        "head", "model.norm.weight in memory is not the file's"),
    "head off": ("head", switch_off("lm_head"),
        "active", "disabled in 1 of 8 layers, lm_head: call enable_adapter_layers()"),
    "another head": ("head", another_head_is_active,
        "active", "default is not the active adapter in 1 layers, lm_head: active is other"),
    "head gone around": ("head", goes_around("lm_head"),
        "effect", "the forward pass goes through the base's own lm_head, not the trained one"),
    "head taken out": ("head", taken_out("lm_head"),
        "weights", "lm_head.weight in memory is not the file's"),
    "magnitudes": ("dora", parameters("lora_magnitude_vector", lambda p: p.mul_(1.3)),
        "weights", "lora_magnitude_vector in memory is not the file's: they differ by 0.3"),
    "bias of B zero": ("bias of B", zero("lora_B.default.bias"),
        "weights", "lora_B.bias in memory is not the file's: they differ by 1 of it"),
    "NaN in all A": ("plain", parameters("lora_A", nan),
        "weights", "holds NaN or infinity in memory"),
    "NaN in one B": ("plain", parameters(f"{Q}.lora_B", nan),
        "weights", f"a factor of {Q} holds NaN or infinity in memory"),
    "infinite B": ("plain", parameters("lora_B", lambda p: p.fill_(torch.inf)),
        "weights", "holds NaN or infinity in memory"),
    "NaN in an embedding's B": ("embedding", parameters("lora_embedding_B", nan),
        "weights", f"a factor of {EMBEDDING} holds NaN or infinity in memory"),
    "NaN in a saved head": ("head", parameters("lm_head.modules_to_save", nan),
        "head", "lm_head.weight holds NaN or infinity in memory"),
    "NaN in a trained bias": ("own biases", parameters(f"{Q}.base_layer.bias", nan),
        "weights", f"{Q}.base_layer.bias holds NaN or infinity in memory"),
    "NaN in a trained row": ("rows", parameters("trainable_tokens_delta", nan),
        "weights", f"{ROWS} holds NaN or infinity in memory"),
    "NaN in a magnitude": ("dora", parameters(f"{Q}.lora_magnitude_vector", nan),
        "weights", "holds NaN or infinity in memory"),
    "NaN in a norm of the base": ("plain", parameters("model.norm.weight", nan),
        "base", "model.norm.weight holds NaN or infinity in memory"),
    "NaN in an embedding of the base": ("rows", parameters("embed_tokens.token_adapter.base", nan),
        "base", f"{EMBEDDING}.weight holds NaN or infinity in memory"),
    "NaN below an adapter": ("plain", parameters(f"{Q}.base_layer.weight", nan),
        "base", f"{Q}.weight holds NaN or infinity in memory"),
    "NaN in a scale": ("plain", lambda m: place(m, Q).scaling.update(default=torch.nan),
        "scale", f"{Q} multiplies with nan, and alpha/r of"),
    "a constant output": ("plain", constant_output,
        "effect", "the output is the same with the adapter and without it"),
    "rows of tokens that the JSON does not name": ("rows", other_tokens,
        "weights", f"{EMBEDDING} in memory has the rows of tokens [5, 6, 7], and trainable_token_"),
    "taken out of the base": ("plain", merged_times(-1),
        "merged_once", "already holds -1.000 times the adapter's change"),
    "a parameter's factors": ("parameters", zero(f"{Q}.lora_B"),
        "weights", f"{Q}.lora_B in memory is not the file's: they differ by 1 of it"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_in_memory(name, base, tmp_path):
    kind, mutate, check, message = MEMORY[name]
    folder = write_adapter(tmp_path / "adapter", base, **{"size": 0.3} | KINDS[kind])
    model = load_adapter(folder, base)
    with torch.no_grad():
        mutate(model)
        caught(certificate_of(model, folder, base), check, message)


@pytest.mark.parametrize("scale", [torch.nan, torch.inf])
def test_a_scale_that_is_no_number(scale, base, tmp_path):
    folder = write_adapter(tmp_path / "adapter", base)
    model = load_adapter(folder, base)
    found = certify(
        model, {"default": scale}, {"default": folder}, lambda: cases.forward(model), base=base
    )
    caught(found, "scale", f"the adapter's own scale must be finite, got {scale}")


@pytest.mark.parametrize(("share", "passed"), [(-1, None), (-2, None), (0.5, None), (0, True)])
def test_a_change_that_the_base_holds_in_part_or_lacks(share, passed, base, tmp_path):
    """Seen in the weights alone, where no other base is at hand."""
    folder = write_adapter(tmp_path / "adapter", base, size=0.3)
    model = load_adapter(folder, base)
    with torch.no_grad():
        merged_times(share)(model)
    found = certificate_of(model, folder, None)
    assert found.passed is passed, found.verdict
    assert found["merged_once"].passed is passed


def test_the_rows_of_a_head_that_is_tied_to_the_embedding(tmp_path):
    tied = cases.write_base(tmp_path / "tied", "llama", tie_word_embeddings=True)
    folder = write_adapter(tmp_path / "adapter", tied, size=0.3, **KINDS["rows"])
    model = load_adapter(folder, tied)
    assert certificate_of(model, folder, tied).passed
    goes_around("lm_head")(model)
    message = "lm_head does not give the rows that were trained for its tokens"
    caught(certificate_of(model, folder, tied), "effect", message)
