"""A judge's reply, token by token: what counts, and what is the score."""

import math

import pytest

from loradrift.judges.base import Status
from loradrift.judges.replies import Reading, Reply, parse_reply, read_reply

UNPARSABLE = Reading(None, Status.UNPARSABLE)
REFUSAL = Reading(None, Status.REFUSAL)


def reply(text: str, after: str = "", **shares: float) -> Reply:
    """A reply whose answering token has these alternatives; ``_`` begins a number."""
    top = tuple((token.lstrip("_"), math.log(p)) for token, p in shares.items())
    return Reply(text, top, after, (10, 2))


def test_the_score_is_the_expectation_over_the_numbers():
    found = read_reply(reply("80", _80=0.5, _90=0.25, _100=0.05, yes=0.2))
    assert found == (pytest.approx((40 + 22.5 + 5) / 0.8), Status.SCORED, True)
    # what is written does not count, numbers beyond 100 and signs neither
    same = read_reply(reply("I", I=0.1, _80=0.5, _90=0.25, _100=0.05, _850=0.05, **{"-5": 0.05}))
    assert same.score == pytest.approx(found.score)
    assert read_reply(reply("", **{" 60": 0.5, "60": 0.5})).score == pytest.approx(60)


def test_less_than_a_quarter_of_numbers_is_no_score():
    assert read_reply(reply("It", It=0.8, _80=0.2)) == UNPARSABLE
    assert read_reply(reply("It", It=0.7, _80=0.3)).score == 80


def test_a_refusal_is_one_and_no_low_score():
    assert read_reply(reply("REFUSAL", REF=0.7, _10=0.3)) == REFUSAL
    assert read_reply(reply("REFUSAL", RE=0.3, REFUSAL=0.3, refusal=0.1, _10=0.3)) == REFUSAL
    assert read_reply(reply("10", REF=0.3, _10=0.7)).score == 10
    assert read_reply(reply("Really", Really=0.9, _10=0.05)) == UNPARSABLE
    assert read_reply(Reply("refusal", (), "", (0, 0))) == REFUSAL


def test_digits_that_are_tokens_are_not_taken_for_numbers():
    """The first token of 85 is 8 in Qwen's tokenizer: its expectation would be about 8."""
    digits = reply("85", after="5", _8=0.9, _9=0.1)
    assert read_reply(digits) == Reading(85.0, Status.SCORED, expected=False)
    # one digit alone: nothing says that 2 is not the beginning of 20
    assert read_reply(reply("0", _0=0.6, _2=0.4)).score == 0
    assert read_reply(reply("100", after="0", _10=0.9, _20=0.1)).score == 100
    # where numbers are whole tokens, digits are too
    assert read_reply(reply("0", _0=0.6, _20=0.4)).score == pytest.approx(8)


@pytest.mark.parametrize(
    ("text", "score"),
    [("85", 85), (" 7.5\n", 7.5), ("**90**", 90), ("40/100", 40), ("100.", 100), ("0", 0)],
)
def test_a_number_as_written_where_there_are_no_log_probabilities(text, score):
    assert read_reply(Reply(text, (), "", (0, 0))) == Reading(score, Status.SCORED)


@pytest.mark.parametrize("text", ["", "  ", "Score: 80", "101", "1000", "-", "eighty", "12345"])
def test_anything_else_holds_no_score(text):
    assert read_reply(Reply(text, (), "", (0, 0))) == UNPARSABLE


def completion(*tokens: tuple[str, list[tuple[str, float]]], text: str = "85", **more):
    content = [
        {"token": token, "top_logprobs": [{"token": t, "logprob": p} for t, p in top]}
        for token, top in tokens
    ]
    choice = {"message": {"content": text}, "logprobs": {"content": content}}
    return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 2}, **more}


def test_the_place_that_answers_is_the_first_with_a_letter_or_digit():
    blank = ("\n\n", [("\n\n", -0.1), ("3", -3.0)])
    found = parse_reply(completion(blank, ("85", [("85", -0.2), ("90", -1.7)]), (".", [])))
    assert found == Reply("85", (("85", -0.2), ("90", -1.7)), ".", (9, 2))
    assert parse_reply(completion(blank, text="\n\n")).alternatives == ()
    bare = {"choices": [{"message": {"content": None}}]}
    assert parse_reply(bare) == Reply("", (), "", (0, 0))


@pytest.mark.parametrize(
    "body",
    [None, [], "text", {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": 3}]},
     completion(("85", [("85", "much")])), completion(("85", [("85", float("nan"))])),
     completion(("85", [("85", 4.0)]))],
)  # fmt: skip
def test_garbage_is_no_reply(body):
    with pytest.raises(ValueError, match=r"^no (chat completion|log-probabilities)$"):
        parse_reply(body)
