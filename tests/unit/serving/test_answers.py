"""Answers: equal, as good, or another model's."""

import math

import pytest
from simulated import ADAPTERS, make_plan, make_prompts, open_offline, true_answer

from loradrift.serving.answers import TOLERANCES, References, complaint, judge
from loradrift.serving.samples import ReferenceAnswer, Sample, answers_of


def sample(asked, tokens, *, served="same", prompt=0) -> Sample:
    served = asked if served == "same" else served
    times = [0.1] * len(tokens)
    place = ("offline", "multi_2_adapters", 8.0, 3, 5, prompt, asked, served)
    return Sample(*place, 0.0, 0.1, 0.2, len(tokens), times, list(tokens), 0.3)


FP32 = TOLERANCES["float32"]
REFERENCES = References(
    {None: {0: (1, 2, 3)}, "sst2": {0: (1, 2, 4)}, "mrpc": {0: (9, 9, 9)}, "rte": {0: (1, 2, 4)}}
)


def known_gaps(table):
    """``Gaps`` that are looked up: (model, tokens) -> gaps, else 4 nats each."""
    return lambda model, answers: [
        table.get((model, tokens), [4.0] * len(tokens)) for _, tokens in answers
    ]


def judged(one: Sample, table=None, tolerance=FP32) -> Sample:
    [result] = judge([one], REFERENCES, known_gaps(table or {}), tolerance)
    return result


def test_an_equal_answer_is_right_and_costs_no_forward_pass():
    def never(model, answers):
        raise AssertionError("nothing to look at")

    [right] = judge([sample("sst2", (1, 2, 4))], REFERENCES, never, FP32)
    assert (right.answer, right.equal_tokens, right.gap) == ("equal", 1.0, 0.0)
    [short] = judge([sample("sst2", (1, 2))], REFERENCES, never, FP32)
    assert short.answer == "equal"


@pytest.mark.parametrize(("gap", "answer"), [(9e-4, "tie"), (1.1e-3, "differs")])
def test_a_difference_counts_where_the_two_tokens_are_not_as_likely(gap, answer):
    result = judged(sample("sst2", (1, 7, 8)), {("sst2", (1, 7, 8)): [0.0, gap, 0.0]})
    assert (result.answer, result.gap) == (answer, gap)
    assert result.equal_tokens == pytest.approx(1 / 3)


def test_what_follows_a_tie_has_to_be_the_model_s_own_too():
    result = judged(sample("sst2", (1, 7, 8)), {("sst2", (1, 7, 8)): [0.0, 1e-4, 2.0]})
    assert result.answer == "differs"


def test_bfloat16_bounds_the_whole_answer():
    bf16, long = TOLERANCES["bfloat16"], [0.02] * 99
    assert bf16.allows([1.5, 0.0, 0.4]) and not bf16.allows([1.5, 0.0, 0.6])
    assert bf16.allows(long) and not bf16.allows(long * 2)
    assert bf16.allows([0.0156] * 1280) and not bf16.allows([0.0157] * 1280)
    assert not bf16.allows([math.nan]) and not FP32.allows([0.0, math.nan])
    assert FP32.allows([1e-3] * 1000) and not FP32.allows([0.0, 1.1e-3])
    result = judged(sample("sst2", (1, 7, 8)), {("sst2", (1, 7, 8)): [0.0, 1.9, 0.0]}, bf16)
    assert (result.answer, result.gap) == ("tie", 1.9)


def test_a_wrong_answer_says_whose_it_is():
    assert judged(sample("sst2", (9, 9, 9))).answered_by == "mrpc"
    assert judged(sample("sst2", (1, 2, 3))).answered_by == "base"
    assert judged(sample(None, (1, 2, 4))).answered_by == "sst2"
    assert judged(sample("sst2", (5, 5, 5))).answered_by is None
    near = {("mrpc", (9, 9, 8)): [0.0, 0.0, 5e-4]}
    assert judged(sample("sst2", (9, 9, 8)), near).answered_by == "mrpc"


def test_an_engine_that_says_another_model_has_answered_is_wrong_even_if_the_tokens_are_right():
    zero = {("sst2", (1, 2, 4)): [0.0] * 3}
    result = judged(sample("sst2", (1, 2, 4), served="rte"), zero)
    assert (result.answer, result.answered_by) == ("differs", "rte")
    assert judged(sample("sst2", (1, 2, 4), served=None), zero).answered_by == "base"


def test_models_with_the_same_answers_cannot_be_told_apart():
    assert REFERENCES.coincident() == [("rte", "sst2", 1.0)]
    two = References({None: {0: (1,)}, "a": {0: (1,)}})
    assert two.coincident() == [("base", "a", 1.0)]


def test_rows_of_a_file_become_references():
    rows = [ReferenceAnswer(None, 0, [1, 2], 0.0), ReferenceAnswer("a", 0, [3], 0.0)]
    assert References.of(rows).answers == {None: {0: (1, 2)}, "a": {0: (3,)}}


def test_the_complaint_is_one_line_that_names_everything():
    results = judge(
        [sample("sst2", (9, 9, 9)), sample(None, (1, 2, 3))], REFERENCES, known_gaps({}), FP32
    )
    line = complaint(results, {"sst2": "14 checks hold"})
    assert line == (
        "a wrong answer: multi_2_adapters at batch size 8, round 3, request 5: sst2 was asked and "
        "mrpc answers so (a token is 4 nats below sst2's best); 1 of 2 answers of this round are "
        "wrong; sst2's certificate: 14 checks hold"
    )
    assert complaint(results[1:], {}) is None


def test_what_is_counted():
    figures = answers_of(open_offline(make_plan()).measure(0))
    arms = 4 + 1 + 2 + 3  # merged, single, two and four, base on, rank, slots
    assert figures["answers"] == (arms + 1) * (1 + 4) == figures["equal"]
    assert figures["base_answers"] == 2 * (1 + 4)
    assert (figures["wrong"], figures["equal_tokens"], figures["largest_gap"]) == (0, 1.0, 0.0)
    prompts = make_prompts()
    answers = {true_answer(model, prompts[0].token_ids, 3) for model in (None, *ADAPTERS)}
    assert len(answers) == 5  # the simulated models can be told apart
