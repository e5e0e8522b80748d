"""Which answers can be told from other models': known models, known gaps."""

import pytest
from simulated import make_plan, open_offline

from loradrift.serving.answers import References
from loradrift.serving.apart import Apart, read_apart, tell_apart, write_apart
from loradrift.serving.tolerance import TOLERANCES

FP32, BF16 = TOLERANCES["float32"], TOLERANCES["bfloat16"]


def far(model, answers):
    """``Gaps``: each token is one nat below the best."""
    return [[1.0] * len(tokens) for _, tokens in answers]


def test_an_answer_is_told_apart_from_the_token_on_that_no_other_model_gives():
    references = References(
        {None: {0: (1, 2, 3), 1: (5, 5, 5)}, "a": {0: (1, 2, 4), 1: (6, 5, 5)},
         "b": {0: (1, 9, 4), 1: (6, 5, 5)}}
    )  # fmt: skip

    def gaps(model, answers):
        found = []
        for prompt, tokens in answers:
            right = references.answers[model][prompt]
            found.append([1.0 * (a != b) for a, b in zip(tokens, right, strict=False)])
        return found

    apart = tell_apart(references, gaps, FP32)
    assert apart.least == {"base": [3, 1], "a": [3, None], "b": [2, None]}
    assert sorted(apart.shares) == [("a", "b", 0.5), ("b", "a", 0.5)]
    assert apart.alike == [] and apart.pairs == frozenset()


def test_models_whose_tokens_differ_only_in_ties_are_alike():
    references = References({None: {0: (1, 2)}, "a": {0: (1, 3)}, "b": {0: (7, 7)}})

    def gaps(model, answers):
        own = (7,) if model == "b" else (1,)
        return [[0.0, 1e-4] if tokens[:1] == own else [5.0] * len(tokens) for _, tokens in answers]

    apart = tell_apart(references, gaps, FP32)
    assert apart.alike == [("base", "a", 1.0)]
    assert apart.pairs == {(None, "a"), ("a", None)}
    assert apart.least["base"] == [None] and apart.least["b"] == [1]


def test_in_bfloat16_the_whole_answer_has_to_be_far_enough():
    long = (1,) * 128
    for nats, least in ((0.05, None), (0.11, 19)):
        # 2 nats are allowed to 128 tokens: 32 of the one are less, 19 of the other are more
        references = References({None: {0: long}, "a": {0: (2,) * 128}})
        found = tell_apart(
            references, lambda m, answers, n=nats: [[n] * len(t) for _, t in answers], BF16
        )
        assert found.least == {"base": [least], "a": [least]}


def test_of_many_adapters_each_is_held_against_its_neighbours():
    models = [None, *(f"a{i}" for i in range(12))]
    references = References({model: {0: (i,)} for i, model in enumerate(models)})
    asked = {}

    def gaps(model, answers):
        asked[model] = len(answers)
        return far(model, answers)

    apart = tell_apart(references, gaps, FP32)
    assert asked == {None: 1, "a11": 2} | {f"a{i}": 3 - (i == 0) for i in range(11)}
    assert set(map(tuple, apart.least.values())) == {(1,)}


def test_the_answers_that_say_something_are_counted(tmp_path):
    samples = open_offline(make_plan()).measure(0)
    prompts = 12
    least = {name: [1] * prompts for name in ("sst2", "mrpc", "rte", "squad_v2")}
    whole = Apart([], least | {"base": [7] * prompts})
    write_apart(tmp_path / "apart.json", whole)
    whole = read_apart(tmp_path / "apart.json")
    assert whole.count(samples) == sum(sample.asked is not None for sample in samples)
    none = Apart([], {name: [None] * prompts for name in (*least, "base")})
    assert none.count(samples) == 0
    (tmp_path / "apart.json").write_text("{}")
    with pytest.raises(LookupError):
        read_apart(tmp_path / "apart.json")
