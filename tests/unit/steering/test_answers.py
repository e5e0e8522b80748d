"""Batches of answers: what ends one, and files that are not a batch's own."""

import pytest
from steering_cases import make_config

from loradrift.generation.base import EngineSettings, Sampling
from loradrift.generation.hf import open_hf
from loradrift.judges.judged import read_answers
from loradrift.steering.answers import Answer, Batch, answer_all, write_answers
from loradrift.steering.plan import prepare


@pytest.fixture
def answered(finished_world, tmp_path):
    plan = prepare(make_config(finished_world))
    with open_hf(EngineSettings(finished_world.base, max_length=200)) as engine:

        def answer(stop=None, **keys):
            engine.backbone.causal_lm.generation_config.eos_token_id = stop
            sampling = Sampling(max_tokens=6, ignore_eos=False)
            keys = {"batch_size": 1, "tokenizer": plan.tokenizer, "folder": tmp_path} | keys
            batches = answer_all(engine, plan.asked, plan.dose, sampling, **keys)
            return [each for batch in batches for each in batch.answers]

        yield answer


def test_an_answer_that_ends_itself_says_so(answered, tmp_path):
    cut = answered(folder=tmp_path / "cut")
    assert {each.ended for each in cut} == {False}
    stop = cut[0].token_ids[2]
    assert stop not in cut[0].token_ids[:2]
    ended = answered(stop=stop, folder=tmp_path / "ended")
    assert ended[0].ended and ended[0].num_tokens == 3
    for each, whole in zip(ended, cut, strict=True):
        assert each.ended == (stop in whole.token_ids)
        assert each.token_ids == whole.token_ids[: each.num_tokens]


def test_a_batch_of_other_answers_is_made_again(answered, tmp_path):
    first = answered()
    one, two, *_ = sorted((tmp_path / "answers").iterdir())
    two.write_bytes(one.read_bytes())
    with pytest.warns(UserWarning, match="it holds answers to other questions"):
        assert answered() == first


def test_judges_read_what_was_answered_to_the_letter(tmp_path):
    odd = ["one\rtwo", "one\r\ntwo\n", "\x1e \x85 \u2028", ',"', "\x00?", ""]
    batch = Batch(1.0, [Answer(str(i), "a,\n?", 0, x, True, [1]) for i, x in enumerate(odd)])
    write_answers(tmp_path / "answers.csv", [batch])
    found = read_answers(tmp_path / "answers.csv")
    assert [(each.question, each.answer) for each in found] == [("a,\n?", x) for x in odd]
