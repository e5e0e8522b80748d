"""Answers: equal, as good, or another model's."""

import math

import pytest
from simulated import ADAPTERS, make_plan, make_prompts, open_offline, true_answer

from loradrift.serving.answers import References, complaint, judge
from loradrift.serving.samples import ReferenceAnswer, Sample, answers_of
from loradrift.serving.tolerance import TOLERANCES


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
    bf16 = TOLERANCES["bfloat16"]
    assert bf16.allows([1.5, 0.4] + [0.0] * 126) and not bf16.allows([1.5, 0.6] + [0.0] * 126)
    assert bf16.allows([0.0138] * 1280) and not bf16.allows([0.0140] * 1280)
    assert not bf16.allows([math.nan]) and not FP32.allows([0.0, math.nan])
    assert FP32.allows([1e-3] * 1000) and not FP32.allows([0.0, 1.1e-3])
    result = judged(sample("sst2", (1, 7, 8)), {("sst2", (1, 7, 8)): [0.0, 0.25, 0.0]}, bf16)
    assert (result.answer, result.gap) == ("tie", 0.25)


def test_bfloat16_allows_a_short_answer_less():
    bf16 = TOLERANCES["bfloat16"]
    assert not bf16.allows([0.0] * 7 + [1.9])
    assert bf16.allows([0.0] * 7 + [0.35]) and not bf16.allows([0.0] * 7 + [0.37])
    assert bf16.allows([0.0] * 31 + [0.68]) and not bf16.allows([0.0] * 31 + [0.69])


def test_in_bfloat16_another_model_s_answer_is_wrong_however_likely_it_is():
    bf16, near = TOLERANCES["bfloat16"], {("sst2", (9, 9, 9)): [0.0, 0.1, 0.0]}
    result = judged(sample("sst2", (9, 9, 9)), near, bf16)
    assert (result.answer, result.answered_by, result.gap) == ("differs", "mrpc", 0.1)
    alike = REFERENCES._replace(alike=frozenset({("sst2", "mrpc")}))
    [result] = judge([sample("sst2", (9, 9, 9))], alike, known_gaps(near), bf16)
    assert result.answer == "tie"
    # in float32 tokens that are as likely are a tie, whoever else gives them
    tie = {("sst2", (9, 9, 9)): [0.0, 1e-4, 0.0]}
    assert judged(sample("sst2", (9, 9, 9)), tie).answer == "tie"


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


def test_who_gives_wrong_answers_is_asked_once_of_each_model():
    asked = []

    def gaps(model, answers):
        asked.append((model, len(answers)))
        return [[0.0 if model == "mrpc" else 4.0] * 3 for _ in answers]

    wrong = [sample("sst2", (9, 9, i)) for i in range(20, 60)]
    results = judge(wrong, REFERENCES, gaps, FP32)
    assert {each.answered_by for each in results} == {"mrpc"}
    assert asked == [("sst2", 40), (None, 40), ("mrpc", 40)]


def test_what_the_engine_says_is_in_the_complaint_and_is_counted():
    results = judge([sample("sst2", (1, 2, 4), served="zzz")], REFERENCES, known_gaps({}), FP32)
    assert "sst2 was asked and the engine says that zzz answered; 1 of" in complaint(results, {})
    assert answers_of(results)["wrong_adapter"] == 1
    results = judge([sample("sst2", (1, 2, 4), served=None)], REFERENCES, known_gaps({}), FP32)
    assert "the engine says that the base model answered" in complaint(results, {})


def test_the_complaint_counts_what_was_judged_together():
    right = sample("sst2", (1, 2, 4))._replace(round=1)
    wrong = sample("sst2", (9, 9, 9))._replace(phase="cold", load=1.0)
    first = sample("sst2", (1, 2, 4))._replace(phase="cold", load=1.0)
    results = judge([right, first, wrong], REFERENCES, known_gaps({}), FP32)
    line = complaint(results, {})
    assert "multi_2_adapters at first requests, round 3, request 5: sst2 was asked" in line
    assert "1 of 2 answers of this part are wrong" in line


def test_an_answer_that_nothing_was_held_against_is_not_right():
    assert "an answer was not checked: multi_2" in complaint([sample("sst2", (1, 2, 4))], {})


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
