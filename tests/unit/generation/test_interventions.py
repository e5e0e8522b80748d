"""Interventions: at their layers and positions, for their rows alone, cached and padded or not."""

from dataclasses import replace

import pytest
import torch
from adapter_cases import load_base

from loradrift.config import UserError
from loradrift.generation import Intervention, Request, Sampling

VECTOR = tuple(torch.linspace(-1, 1, 32).tolist())
OTHER = tuple(torch.linspace(1, -0.5, 32).square().tolist())
EIGHT = Sampling(max_tokens=8)


@torch.no_grad()
def changed_logits(folder, ids, num_prompt, interventions):
    """By hand: one unpadded row, nothing kept, each position's own sum added by a hook."""
    places = torch.arange(len(ids))[:, None]
    where = {
        "all": places >= 0,
        "prompt": places < num_prompt,
        "response": places >= num_prompt - 1,
    }
    model = load_base(folder).eval()
    for change in interventions:
        added_TD = where[change.positions] * change.coefficient * torch.tensor(change.vector)
        block = model.model.layers[change.layer]
        block.register_forward_hook(lambda _m, _i, out, added=added_TD: out + added)
    return model(input_ids=torch.tensor([ids])).logits[0]


def greedy_by_hand(folder, prompt, interventions, count):
    text = list(prompt)
    for _ in range(count):
        text.append(int(changed_logits(folder, text, len(prompt), interventions)[-1].argmax()))
    return tuple(text[len(prompt) :])


@pytest.mark.parametrize("layer", [0, 1])
def test_it_is_what_a_hook_by_hand_does(engine, model_folder, layer):
    change = Intervention(layer, VECTOR, 3.0)
    ids = (1, 40, 41, 42, 43)
    beside = Request("1", (1, 50, 51), "plain")
    found = engine.log_likelihoods([Request("0", ids, None, (change,)), beside])
    logits = changed_logits(model_folder, ids, len(ids), [change])[:-1]
    wanted = logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None]).sum()
    assert found[0] == pytest.approx(float(wanted), abs=1e-4)
    assert found[1] == pytest.approx(engine.log_likelihoods([beside])[0], abs=1e-4)


SOME = {
    "all": (Intervention(1, VECTOR, 4.0),),
    "prompt": (Intervention(0, VECTOR, 6.0, "prompt"),),
    "response": (Intervention(0, OTHER, -6.0, "response"),),
    "several": (
        Intervention(0, VECTOR, 2.0, "prompt"),
        Intervention(1, OTHER, 3.0, "response"),
        Intervention(1, VECTOR, 2.0),
        Intervention(1, VECTOR, 1.0),
    ),
}
PROMPTS = ((1, 40, 41), (1, 60, 61, 62, 63, 64, 65), (50,), (1, 70))
"""Of four lengths, so that three rows are padded."""


def test_answers_follow_it_token_by_token_beside_other_rows(engine, model_folder):
    requests = [
        Request(name, prompt, None, changes)
        for (name, changes), prompt in zip(SOME.items(), PROMPTS, strict=True)
    ]
    requests.append(Request("plain", PROMPTS[0]))
    answers = engine.generate(requests, EIGHT)
    for request, answer in zip(requests, answers, strict=True):
        wanted = greedy_by_hand(model_folder, request.prompt_ids, request.interventions, 8)
        assert answer.token_ids == wanted
    unsteered = [
        engine.generate([replace(each, interventions=())], EIGHT)[0].token_ids for each in requests
    ]
    changed = [answers[i].token_ids != unsteered[i] for i in range(len(requests))]
    assert changed == [True, True, True, True, False]


@pytest.mark.parametrize("name", SOME)
def test_an_answers_likelihood_is_that_of_the_same_positions(engine, model_folder, name):
    answer = (44, 45, 46, 47, 48)
    request = Request("0", PROMPTS[1], None, SOME[name])
    beside = Request("1", (1, *range(30, 50)), None, SOME["all"])  # much longer: the row is padded
    found = engine.answer_log_likelihoods([request, beside], [answer, (44,)])
    ids = (*request.prompt_ids, *answer)
    logits = changed_logits(model_folder, ids, len(request.prompt_ids), request.interventions)
    logs = logits.log_softmax(-1)[len(request.prompt_ids) - 1 : -1]
    wanted = logs.gather(1, torch.tensor(answer)[:, None])[:, 0].tolist()
    assert found[0] == pytest.approx(wanted, abs=1e-4)
    assert len(found[1]) == 1


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("lengths", [(1,), (2,), (1, 3)])
def test_the_shortest_prompts(engine, model_folder, name, lengths):
    prompts = [(50, 51, 52)[:length] for length in lengths]
    requests = [Request(str(i), each, None, SOME[name]) for i, each in enumerate(prompts)]
    answers = [(44, 45, 46, 47, 48)[: 6 - length] for length in lengths]
    found = engine.answer_log_likelihoods(requests, answers)
    given = engine.generate(requests, EIGHT)
    for prompt, answer, nats, own in zip(prompts, answers, found, given, strict=True):
        logits = changed_logits(model_folder, (*prompt, *answer), len(prompt), SOME[name])
        logs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        assert nats == pytest.approx(logs.gather(1, torch.tensor(answer)[:, None])[:, 0].tolist())
        assert own.token_ids == greedy_by_hand(model_folder, prompt, SOME[name], 8)


def test_where_positions_differ_so_do_answers(engine):
    names = ("all", "prompt", "response")
    requests = [
        Request(name, PROMPTS[1], None, (Intervention(0, VECTOR, 3.0, name),)) for name in names
    ]
    found = engine.answer_log_likelihoods(requests, [(44, 45, 46)] * 3)
    everywhere, prompt, response = [[round(x, 4) for x in each] for each in found]
    # the first token is chosen at the prompt's last, before any of the answer
    assert everywhere[0] == prompt[0] != response[0]
    assert len({everywhere[1], prompt[1], response[1]}) == 3


def test_two_rows_and_two_layers_keep_apart(engine):
    first = Request("0", (1, 40, 41), "plain", (Intervention(0, VECTOR, 4.0),))
    second = Request("1", (1, 40, 41), "plain", (Intervention(1, VECTOR, -4.0),))
    third = Request("2", (1, 40, 41), "plain", (Intervention(1, VECTOR, 0.0),))
    together = engine.log_likelihoods([first, second, third])
    alone = [engine.log_likelihoods([each])[0] for each in (first, second)]
    alone += engine.log_likelihoods([replace(third, interventions=())])
    assert together == pytest.approx(alone, abs=1e-4)
    assert len({round(x, 3) for x in together}) == 3


def test_positions_are_known_by_name():
    with pytest.raises(UserError, match="positions must be all or prompt or response, got end"):
        Intervention(0, VECTOR, 1.0, "end")


def test_a_model_that_has_overflowed_is_not_asked_for_its_likeliest_token(engine):
    request, weight = Request("0", (1, 40, 41)), engine.backbone.decoder.norm.weight
    before = weight.data.clone()
    weight.data.fill_(float("inf"))
    try:
        for sampling in (EIGHT, replace(EIGHT, temperature=1.0)):
            with pytest.raises(UserError, match="the model's logits are not finite"):
                engine.generate([request], sampling)
    finally:
        weight.data.copy_(before)
    assert len(engine.generate([request], EIGHT)[0].token_ids) == 8


@pytest.mark.parametrize("coefficient", [1e300, 1e39, 1e20])
def test_a_vector_whose_square_overflows_is_refused(engine, coefficient):
    request = Request("0", (1, 40, 41), None, (Intervention(1, VECTOR, coefficient),))
    with pytest.raises(UserError, match="vector must keep its square finite in float32 times its"):
        engine.generate([request], EIGHT)
