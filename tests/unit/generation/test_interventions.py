"""A row's intervention is added at its layer, at every token, and to no other row."""

from dataclasses import replace

import pytest
import torch
from adapter_cases import load_base

from loradrift.generation import Intervention, Request, Sampling

VECTOR = tuple(torch.linspace(-1, 1, 32).tolist())
EIGHT = Sampling(max_tokens=8)


@torch.no_grad()
def changed_logits(folder, ids, layer, added):
    """By hand: a hook on the one block of a model that nothing else is in."""
    model = load_base(folder).eval()
    handle = model.model.layers[layer].register_forward_hook(lambda _m, _i, out: out + added)
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    handle.remove()
    return logits


@pytest.mark.parametrize("layer", [0, 1])
def test_it_is_what_a_hook_by_hand_does(engine, model_folder, layer):
    change = Intervention(layer, VECTOR, 3.0)
    ids = (1, 40, 41, 42, 43)
    beside = Request("1", (1, 50, 51), "plain")
    found = engine.log_likelihoods([Request("0", ids, None, change), beside])
    logits = changed_logits(model_folder, ids, layer, 3.0 * torch.tensor(VECTOR))[:-1]
    wanted = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None]).sum()
    assert found[0] == pytest.approx(float(wanted), abs=1e-4)
    assert found[1] == pytest.approx(engine.log_likelihoods([beside])[0], abs=1e-4)


def test_answers_follow_it_token_by_token(engine, model_folder):
    request = Request("0", (1, 40, 41), None, Intervention(1, VECTOR, 5.0))
    text = list(request.prompt_ids)
    for _ in range(8):
        added = 5.0 * torch.tensor(VECTOR)
        text.append(int(changed_logits(model_folder, text, 1, added)[-1].argmax()))
    plain = replace(request, id="1", intervention=None)
    changed, untouched = engine.generate([request, plain], EIGHT)
    assert changed.token_ids == tuple(text[3:]) != untouched.token_ids
    assert untouched.token_ids == engine.generate([plain], EIGHT)[0].token_ids


def test_two_rows_and_two_layers_keep_apart(engine):
    first = Request("0", (1, 40, 41), "plain", Intervention(0, VECTOR, 4.0))
    second = Request("1", (1, 40, 41), "plain", Intervention(1, VECTOR, -4.0))
    third = Request("2", (1, 40, 41), "plain", Intervention(1, VECTOR, 0.0))
    together = engine.log_likelihoods([first, second, third])
    alone = [engine.log_likelihoods([each])[0] for each in (first, second)]
    alone += engine.log_likelihoods([replace(third, intervention=None)])
    assert together == pytest.approx(alone, abs=1e-4)
    assert len({round(x, 3) for x in together}) == 3
