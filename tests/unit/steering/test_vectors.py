"""Vectors are means of hidden states that transformers gives, over the tokens that count."""

import pytest
import torch
from probing import small_backbone, state_of

from loradrift.config import UserError
from loradrift.steering.vectors import Answered, difference_of_means, observe

ROWS = [
    Answered([1, 17, 5, 40], [9, 33, 8]),
    Answered([1, 9], [21, 60, 2, 4, 11]),
    Answered([1, 33, 33, 8, 21], [7]),
]
SPECIAL = [1, 2]
Q, DOWN = "model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj"


@pytest.fixture
def backbone():
    return small_backbone()


def by_hand(backbone, rows):
    """Each row alone, by transformers' own hidden states."""
    lm, blocks = backbone.causal_lm.eval(), []
    for block in lm.model.layers:
        block.register_forward_hook(
            lambda *a: blocks.append(a[2][0] if isinstance(a[2], tuple) else a[2])
        )
    means = {"response_avg": [], "prompt_avg": [], "prompt_last": []}
    for prompt, answer in rows:
        blocks.clear()
        with torch.no_grad():
            lm(input_ids=torch.tensor([[*prompt, *answer]]))
        states = torch.stack([x.reshape(-1, 32) for x in blocks]).double()
        ids = [*prompt, *answer]
        kept = [i for i, each in enumerate(ids) if each not in SPECIAL]
        means["prompt_avg"].append(states[:, [i for i in kept if i < len(prompt)]].mean(1))
        means["response_avg"].append(states[:, [i for i in kept if i >= len(prompt)]].mean(1))
        means["prompt_last"].append(states[:, len(prompt) - 1])
    lm.train()
    return {kind: torch.stack(parts).mean(0) for kind, parts in means.items()}


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_states_are_those_of_each_row_alone(backbone, batch_size):
    found = observe(backbone, ROWS, special=SPECIAL, batch_size=batch_size)
    wanted = by_hand(small_backbone(), ROWS)
    assert found.states.keys() == wanted.keys() and found.inputs == {}
    for kind, states_LD in wanted.items():
        assert states_LD.shape == (2, 32)
        torch.testing.assert_close(found.states[kind], states_LD, rtol=1e-5, atol=1e-6)


def test_every_row_counts_alike_and_in_any_order(backbone):
    one = observe(backbone, ROWS, special=SPECIAL)
    other = observe(backbone, [*ROWS[::-1], *ROWS], special=SPECIAL)
    torch.testing.assert_close(one.states, other.states, rtol=1e-6, atol=1e-7)


def test_mean_inputs_predict_the_mean_output_of_a_linear_module(backbone):
    found = observe(backbone, ROWS, special=SPECIAL, modules=[Q, DOWN]).inputs
    outputs = {Q: [], DOWN: []}
    layers = {name: backbone.causal_lm.get_submodule(name) for name in outputs}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda *a, name=name: outputs[name].append(a[2][0].double()))
    for prompt, answer in ROWS:
        with torch.no_grad():
            backbone.eval().encode(torch.tensor([[*prompt, *answer]]))
    for name, layer in layers.items():
        parts = []
        for (prompt, answer), y_TO in zip(ROWS, outputs[name], strict=True):
            kept = [len(prompt) + i for i, each in enumerate(answer) if each not in SPECIAL]
            parts.append(y_TO[kept].mean(0))
        wanted_O = torch.stack(parts).mean(0)
        torch.testing.assert_close(
            layer.weight.double() @ found[name], wanted_O, atol=1e-5, rtol=1e-4
        )


def test_vectors_point_from_negative_to_positive(backbone):
    sides = [observe(backbone, ROWS[:1], special=SPECIAL), observe(backbone, ROWS[1:])]
    there, back = difference_of_means(*sides), difference_of_means(*sides[::-1])
    for kind, vector_LD in there.items():
        assert vector_LD.shape == (2, 32) and vector_LD.dtype == torch.float32
        wanted = sides[0].states[kind] - sides[1].states[kind]
        torch.testing.assert_close(vector_LD, wanted.float())
        torch.testing.assert_close(back[kind], -vector_LD)


def test_the_model_is_left_as_it_was(backbone):
    before = state_of(backbone)
    observe(backbone, ROWS, modules=[Q])
    assert state_of(backbone) == before


def test_what_has_no_average(backbone):
    with pytest.raises(UserError, match="at least one answer on each side, got none"):
        observe(backbone, [])
    with pytest.raises(UserError, match="a row's answer has no token but special ones"):
        observe(backbone, [Answered([1, 5], [2])], special=SPECIAL)
    with pytest.raises(UserError, match="a row's prompt has no token but special ones"):
        observe(backbone, [Answered([1], [5])], special=SPECIAL)
    with torch.no_grad():
        backbone.causal_lm.model.norm.weight.fill_(1)
        backbone.blocks[0].mlp.down_proj.weight.fill_(torch.inf)
    with pytest.raises(UserError, match="states are not finite"):
        observe(backbone, ROWS)
