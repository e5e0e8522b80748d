"""engine=hf: every row's answer is its own model's, whatever stands beside it."""

from dataclasses import replace

import peft
import pytest
import torch
from adapter_cases import load_adapter, load_base, write_adapter, write_base
from torch.nn.functional import cross_entropy

from loradrift.config import UserError
from loradrift.generation import (
    Completion,
    EngineSettings,
    Request,
    Sampling,
    hf,
    open_engine,
)

PROMPTS = [(1, 40, 41, 42), (1, 50), (1, 60, 61, 62, 63, 64, 65, 66), (1, 70, 71), (9, 8, 7)]
NAMES = ["plain", None, "wide", "uneven", "plain"]
PAIRS = list(zip(PROMPTS, NAMES, strict=True))
REQUESTS = [Request(str(i), ids, name) for i, (ids, name) in enumerate(PAIRS)]
TWELVE = Sampling(max_tokens=12)


def merged(settings, name):
    """The whole model, which shares no code with adapters in a batch."""
    if name is None:
        return load_base(settings.model).eval()
    return load_adapter(settings.adapters[name], settings.model).merge_and_unload().eval()


@torch.no_grad()
def greedy(model, ids, tokens):
    """The likeliest tokens, the whole text read again for each: no cache, no padding."""
    text = list(ids)
    for _ in range(tokens):
        text.append(int(model(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
    return tuple(text[len(ids) :])


def test_a_mixed_batch_answers_as_each_merged_model(engine, settings):
    completions = engine.generate(REQUESTS, TWELVE)
    for request, completion in zip(REQUESTS, completions, strict=True):
        model = merged(settings, request.adapter)
        assert completion.token_ids == greedy(model, request.prompt_ids, 12)
        assert (completion.id, completion.served) == (request.id, request.adapter)
    assert len({completion.token_ids for completion in completions}) == len(REQUESTS)


def test_a_row_answers_the_same_alone(engine):
    together = engine.generate(REQUESTS, TWELVE)
    for request, completion in zip(REQUESTS, together, strict=True):
        assert engine.generate([request], TWELVE)[0].token_ids == completion.token_ids


def test_a_model_without_adapters_has_no_peft_around_it(engine, settings):
    base = [replace(request, adapter=None) for request in REQUESTS]
    with open_engine("hf", replace(settings, adapters={})) as plain:
        assert not isinstance(plain.backbone.lm, peft.PeftModel)
        alone = [completion.token_ids for completion in plain.generate(base, TWELVE)]
    assert alone == [completion.token_ids for completion in engine.generate(base, TWELVE)]


def test_each_token_has_a_time(engine):
    for completion in engine.generate(REQUESTS, TWELVE):
        times = completion.token_times_s
        assert len(times) == len(completion.token_ids) == 12
        assert times[0] > 0 and list(times) == sorted(times)


def test_log_likelihoods_are_those_of_the_merged_models(engine, settings, monkeypatch):
    found = engine.log_likelihoods(REQUESTS)
    for request, value in zip(REQUESTS, found, strict=True):
        ids = torch.tensor([request.prompt_ids])
        with torch.no_grad():
            logits = merged(settings, request.adapter)(input_ids=ids).logits[0, :-1]
        assert value == pytest.approx(-cross_entropy(logits, ids[0, 1:], reduction="sum").item())
    monkeypatch.setattr(hf, "LOGITS_BYTES", 1)  # one row at a time
    assert engine.log_likelihoods(REQUESTS) == pytest.approx(found, abs=1e-5)
    assert engine.log_likelihoods([Request("0", (1,))]) == [0.0]


def test_an_answer_s_likelihood_is_its_tokens_own(engine, settings, monkeypatch):
    answers = [(5, 6, 7), (5, 6, 8), (9,), (5,), (5, 6, 7)]
    requests = [
        Request(str(i), PROMPTS[i // 4], name)
        for i, name in enumerate(("plain", "plain", "plain", None, "plain"))
    ]
    read, logits = [], engine._logits
    monkeypatch.setattr(engine, "_logits", lambda *rows: read.append(rows[1]) or logits(*rows))
    found = engine.answer_log_likelihoods(requests, answers)
    [texts] = read
    # of one adapter what answers share is read once, and no answer's last token
    assert [len(text) for text in texts] == [
        len(PROMPTS[0]) + 2, len(PROMPTS[0]), len(PROMPTS[0]), len(PROMPTS[1]) + 2,
    ]  # fmt: skip
    for request, answer, nats in zip(requests, answers, found, strict=True):
        with torch.no_grad():
            text = torch.tensor([(*request.prompt_ids, *answer)])
            logs = merged(settings, request.adapter)(input_ids=text).logits[0].log_softmax(-1)
        first = len(request.prompt_ids) - 1
        wanted = [float(logs[first + i, token]) for i, token in enumerate(answer)]
        assert nats == pytest.approx(wanted, abs=1e-5)
    assert engine.answer_log_likelihoods(requests[:1], [()]) == [[]]


def test_gaps_say_how_far_an_answer_is_below_the_likeliest(engine, settings):
    answers = engine.generate(REQUESTS, TWELVE)
    assert max(max(gaps) for gaps in engine.greedy_gaps(REQUESTS, answers)) == 0
    other = Completion("0", (5, 6, 7), (0.1, 0.2, 0.3))
    gaps = engine.greedy_gaps(REQUESTS[:1], [other])[0]
    with torch.no_grad():
        text = torch.tensor([(*PROMPTS[0], 5, 6, 7)])
        logs = merged(settings, "plain")(input_ids=text).logits[0].log_softmax(-1)
    first = len(PROMPTS[0]) - 1
    wanted = [logs[first + i].max() - logs[first + i, token] for i, token in enumerate((5, 6, 7))]
    assert gaps == pytest.approx([float(x) for x in wanted], abs=1e-5)


def test_another_adapters_answer_has_gaps(engine):
    answers = engine.generate(REQUESTS, TWELVE)
    swapped = [answers[2], answers[1], answers[0], answers[3], answers[4]]
    gaps = [max(each) for each in engine.greedy_gaps(REQUESTS, swapped)]
    assert min(gaps[0], gaps[2]) > 0.1 and gaps[1] == gaps[3] == 0


def test_an_answer_ends_with_a_token_that_ends_it(engine, monkeypatch):
    whole = engine.generate(REQUESTS, TWELVE)
    stop = whole[0].token_ids[5]
    config = engine.backbone.causal_lm.generation_config
    monkeypatch.setattr(config, "eos_token_id", [stop])
    cut = engine.generate(REQUESTS, replace(TWELVE, ignore_eos=False))
    for short, long in zip(cut, whole, strict=True):
        ends = long.token_ids.index(stop) + 1 if stop in long.token_ids else 12
        assert short.token_ids == long.token_ids[:ends]
        assert len(short.token_times_s) == ends


def test_draws_depend_on_the_seed_and_the_request_alone(engine):
    draw = Sampling(max_tokens=12, temperature=1.5)
    together = engine.generate(REQUESTS, draw)
    assert engine.generate([REQUESTS[3]], draw)[0].token_ids == together[3].token_ids
    assert engine.generate(REQUESTS, replace(draw, seed=1))[3].token_ids != together[3].token_ids
    twins = [replace(REQUESTS[0], id=name) for name in ("a", "b")]
    first, second = engine.generate(twins, draw)
    assert first.token_ids != second.token_ids


def test_draws_follow_the_models_probabilities(engine, settings):
    with torch.no_grad():
        ids = torch.tensor([PROMPTS[0]])
        logits = merged(settings, "plain")(input_ids=ids).logits[0, -1] / 0.5
    likeliest = int(logits.argmax())
    share = float(logits.softmax(-1)[likeliest])
    many = [Request(str(i), PROMPTS[0], "plain") for i in range(400)]
    drawn = engine.generate(many, Sampling(max_tokens=1, temperature=0.5))
    hits = sum(completion.token_ids[0] == likeliest for completion in drawn)
    assert abs(hits - 400 * share) < 4 * (400 * share * (1 - share)) ** 0.5


def test_dora_answers_beside_others(model_folder, settings, tmp_path):
    dora = write_adapter(tmp_path / "dora", model_folder, size=0.2, use_dora=True)
    more = replace(settings, adapters={**settings.adapters, "dora": dora})
    requests = [*REQUESTS, Request("5", PROMPTS[0], "dora"), Request("6", PROMPTS[1], "dora")]
    with open_engine("hf", more) as engine:
        answers = engine.generate(requests, TWELVE)
    for request, completion in zip(requests, answers, strict=True):
        expected = greedy(merged(more, request.adapter), request.prompt_ids, 12)
        assert completion.token_ids == expected


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapted_embedding_and_head_answer_beside_others(tied, tmp_path):
    base = write_base(tmp_path / "base", "llama", vocab_size=300, tie_word_embeddings=tied)
    kinds = {"embeds": ["embed_tokens", "q_proj"], "heads": ["lm_head", "q_proj"]}
    adapters = {
        name: write_adapter(tmp_path / name, base, size=0.2, target_modules=targets)
        for name, targets in kinds.items()
    }
    own = EngineSettings(base, adapters, max_length=64)
    names = ["embeds", None, "heads", "embeds", "heads"]
    requests = [replace(each, adapter=n) for each, n in zip(REQUESTS, names, strict=True)]
    with open_engine("hf", own) as engine:
        answers = [each.token_ids for each in engine.generate(requests, TWELVE)]
    # PEFT would merge into the weight that a tied embedding and head share
    models = {name: load_adapter(folder, base).eval() for name, folder in adapters.items()}
    models[None] = load_base(base).eval()
    assert answers == [greedy(models[each.adapter], each.prompt_ids, 12) for each in requests]
    assert answers[0] != greedy(models[None], requests[0].prompt_ids, 12) != answers[4]


def test_adapters_come_and_go(engine, settings):
    before = [completion.token_ids for completion in engine.generate(REQUESTS, TWELVE)]
    folders = settings.adapters
    assert engine.load_adapter("again", folders["plain"]) > 0
    assert engine.load_s["again"] > 0
    again = replace(REQUESTS[0], adapter="again")
    assert engine.generate([again], TWELVE)[0].token_ids == before[0]
    engine.unload_adapter("again")
    with pytest.raises(UserError, match="asks for the adapter again, .*has plain, wide, uneven"):
        engine.generate([again], TWELVE)
    assert [c.token_ids for c in engine.generate(REQUESTS, TWELVE)] == before


def test_the_last_adapter_leaves_the_base_model(settings):
    base = replace(REQUESTS[0], adapter=None)
    with open_engine("hf", replace(settings, adapters={})) as engine:
        before = engine.generate([base], TWELVE)[0].token_ids
        engine.load_adapter("plain", settings.adapters["plain"])
        assert engine.generate([REQUESTS[0]], TWELVE)[0].token_ids != before
        engine.unload_adapter("plain")
        assert engine.generate([base], TWELVE)[0].token_ids == before


def test_threads_are_the_processes_own_again(settings):
    before = torch.get_num_threads()
    with open_engine("hf", replace(settings, adapters={}, threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_bfloat16_is_close(engine, settings):
    with open_engine("hf", replace(settings, dtype="bfloat16")) as rounded:
        layers = {p.dtype for p in rounded.backbone.parameters()}
        assert layers == {torch.bfloat16}
        near = rounded.log_likelihoods(REQUESTS)
    assert near == pytest.approx(engine.log_likelihoods(REQUESTS), rel=0.02)
