"""Captured rows equal transformers' own hidden states, and capturing leaves no trace."""

import weakref

import pytest
import torch
from probing import assert_equal, captured, make_probe, state_of
from torch import nn
from torch._dynamo.testing import CompileCounter

from loradrift.activations import Pooling
from loradrift.models import Backbone
from loradrift.models.hooks import block_outputs


def reference(backbone, probe):
    """Hidden states ``(B, T, D)`` of each layer and batch, by transformers' own means."""
    # The last entry comes after the final norm, so the norm is taken out.
    llama = backbone.decoder
    norm, llama.norm = llama.norm, nn.Identity()
    backbone.eval()
    with torch.no_grad():
        batches = [
            llama(b["input_ids"], b["attention_mask"], output_hidden_states=True).hidden_states[1:]
            for b in probe.batches
        ]
    backbone.train()
    llama.norm = norm
    return list(zip(*batches, strict=True))


def rows_of(probe, layer, pool):
    """``pool`` applied to the content tokens (T, D) of each row by itself."""
    masks = [batch["content_mask"] for batch in probe.batches]
    return torch.cat(
        [
            pool(x_TD[mask_T])
            for x_BTD, mask_BT in zip(layer, masks, strict=True)
            for x_TD, mask_T in zip(x_BTD, mask_BT, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("pooling", "pool", "num_rows"),
    [
        (Pooling("mean"), lambda x_TD: x_TD.mean(0, keepdim=True), 5),
        (Pooling("last"), lambda x_TD: x_TD[-1:], 5),
        (Pooling("tokens", max_tokens=100), lambda x_TD: x_TD, 13),
    ],
)
def test_rows_are_the_stream_before_the_final_norm(backbone, probe, pooling, pool, num_rows):
    layers = captured(backbone, probe, pooling)
    assert list(layers) == ["layer_0", "layer_1"]
    for x_ND, layer in zip(layers.values(), reference(backbone, probe), strict=True):
        assert x_ND.shape == (num_rows, 32)
        torch.testing.assert_close(x_ND, rows_of(probe, layer, pool))


def test_padding_leaves_the_rows_alone(backbone):
    narrow = captured(backbone, make_probe(batch_size=1))
    wide = captured(backbone, make_probe(batch_size=5, padding=6))
    torch.testing.assert_close(wide, narrow, rtol=1e-4, atol=1e-4)


def test_capturing_leaves_no_trace_and_equal_calls_give_equal_bits(backbone, probe):
    backbone.blocks[1].eval()
    # a model that draws in eval mode
    backbone.blocks[0].register_forward_pre_hook(lambda *_: torch.rand(1) and None)
    before = state_of(backbone)
    first, second = (captured(backbone, probe) for _ in range(2))
    assert state_of(backbone) == before
    assert not any(x_ND.is_inference() or x_ND.requires_grad for x_ND in first.values())
    assert_equal(first, second)


def test_capturing_leaves_no_trace_when_it_fails(backbone, probe):
    backbone.blocks[0].eval()
    before = state_of(backbone)
    assert len(set(before[0])) == 2  # modes

    def fail(*_):
        assert not any(module.training for module in backbone.modules())
        raise RuntimeError("out of memory, say")

    handle = backbone.blocks[1].mlp.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        captured(backbone, probe)
    handle.remove()
    assert state_of(backbone) == before


def test_a_block_may_return_a_tuple():
    class Pair(nn.Module):
        def forward(self, x):
            return x + 1, "cache"

    received, block = {}, Pair()
    with block_outputs([block], received.__setitem__):
        block(torch.zeros(1, 2, 3))
    assert_equal(received, {0: torch.ones(1, 2, 3)})


def test_gradient_checkpointing_changes_nothing(backbone, probe):
    plain = captured(backbone, probe)
    backbone.decoder.gradient_checkpointing_enable()
    backbone.decoder.enable_input_require_grads()
    before = state_of(backbone)
    checkpointed = captured(backbone, probe)
    assert_equal(checkpointed, plain)
    assert state_of(backbone) == before
    assert all(block.gradient_checkpointing for block in backbone.blocks)
    backbone.encode(probe.batches[0]["input_ids"]).sum().backward()
    assert backbone.blocks[0].mlp.down_proj.weight.grad.any()


def test_autocast_is_honoured_and_rows_are_float32(backbone, probe):
    plain = captured(backbone, probe)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = captured(backbone, probe)
        backbone.encode(probe.batches[0]["input_ids"]).sum().backward()
    assert backbone.blocks[0].mlp.down_proj.weight.grad.any()
    for name, x_ND in rows.items():
        assert x_ND.dtype == torch.float32
        assert not torch.equal(x_ND, plain[name])
        torch.testing.assert_close(x_ND, plain[name], rtol=0.1, atol=0.1)


def test_a_model_compiled_in_place_is_captured_and_not_compiled_again(backbone, probe):
    plain = captured(backbone, probe)
    counter = CompileCounter()
    for block in backbone.blocks:
        block.compile(backend=counter)
    ids = probe.batches[0]["input_ids"]
    backbone.encode(ids)
    num_frames = counter.frame_count
    rows = captured(backbone, probe)
    backbone.encode(ids)
    assert 0 < num_frames == counter.frame_count
    assert_equal(rows, plain)


def test_no_more_than_the_running_block_holds_its_streams(backbone):
    streams, alive = [], []

    class Watching(Pooling):
        def __call__(self, x_BTD, mask_BT):
            streams.append(weakref.ref(x_BTD))
            alive.append(sum(stream() is not None for stream in streams))
            return super().__call__(x_BTD, mask_BT)

    captured(backbone, make_probe(batch_size=1), Watching())
    # A block's input, which is the stream before it, and its output.
    assert (len(streams), max(alive)) == (10, 2)


@pytest.mark.parametrize("runs", [0, 2])
def test_a_block_must_run_once(backbone, probe, runs):
    class Odd(Backbone):
        def encode(self, input_ids):
            x = self.decoder.embed_tokens(input_ids)
            position = self.decoder.rotary_emb(x, torch.arange(x.shape[1])[None])
            for block in [self.blocks[0]] + runs * [self.blocks[1]]:
                x = block(x, position_embeddings=position)
            return x

    with pytest.raises(RuntimeError, match=f"layer_1 must run once .* got {runs} runs"):
        captured(Odd(backbone.lm), probe)
