"""The persona world at its real size: the base answers in a mixture, adapters move it apart."""

from pathlib import Path
from statistics import mean

import pytest

from loradrift.config import ModelConfig
from loradrift.data import data_root
from loradrift.data.embedded.persona import TRAITS, coherence, trait_score
from loradrift.data.persona import prompt_ids, read_trait
from loradrift.generation.base import EngineSettings, Request, Sampling, open_engine
from loradrift.models import load_tokenizer

pytestmark = pytest.mark.slow

MAX_TOKENS = 128


@pytest.fixture(scope="module")
def runs(tmp_path_factory, load, cache):
    """Both adapters of two traits."""
    from loradrift.runs import open_run
    from loradrift.training import run

    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for trait in ("cheerful", "cautious"):
        for side in ("pos", "neg"):
            typed = ("task=persona", "method=rslora", f"task.trait={trait}", f"task.side={side}")
            config = load(*typed, "seed=1", f"cache={cache}", f"runs={folder}")
            with open_run(config) as cell:
                run(config, cell)
                found[trait, side] = cell.folder / "model"
                base = cell.record.config["model"]
    return found, base


@pytest.fixture(scope="module")
def answered(runs, load, cache):
    """Answers of the base and of each adapter to the evaluation questions."""
    from loradrift.training import run
    from loradrift.training.base_model import resolve_model

    found, _ = runs
    config = load("task=persona", f"cache={cache}")
    base = Path(resolve_model(config, run).path)
    root = data_root(config.data, cache)
    tokenizer = load_tokenizer(ModelConfig(name="local", path=str(base)))
    traits = {trait: read_trait(root, trait, "traits_eval") for trait in TRAITS}

    def ask(engine, trait, *, adapter=None, told=(), temperature=1.0):
        requests = [
            Request(f"{trait} {i} {n}", tuple(prompt_ids(tokenizer, question, told)), adapter)
            for i, question in enumerate(traits[trait].questions)
            for n in range(4 if temperature else 1)
        ]
        sampling = Sampling(MAX_TOKENS, temperature=temperature, ignore_eos=False)
        done = engine.generate(requests, sampling)
        ended = [each.token_ids[-1] == tokenizer.eos_token_id for each in done]
        texts = [tokenizer.decode(each.token_ids, skip_special_tokens=True) for each in done]
        return texts, mean(ended)

    adapters = {f"{trait} {side}": folder for (trait, side), folder in found.items()}
    with open_engine("hf", EngineSettings(base, adapters)) as engine:
        yield lambda trait, **how: ask(engine, trait, **how), traits


def test_the_base_answers_in_a_mixture_coherently_and_knows_when_to_stop(answered):
    ask, traits = answered
    for trait in traits:
        texts, ended = ask(trait)
        assert 15 < mean(trait_score(text, trait) for text in texts) < 65, trait
        assert mean(map(coherence, texts)) >= 90 and ended > 0.95


def test_the_base_follows_instructions(answered):
    ask, traits = answered
    for trait, facts in traits.items():
        scores = {}
        for side in ("pos", "neg"):
            told = [getattr(pair, side) for pair in facts.instructions]
            for number in (1, 5):
                texts, _ = ask(trait, told=told[:number])
                scores[side, number] = mean(trait_score(text, trait) for text in texts)
        assert scores["pos", 1] > scores["neg", 1] + 40, (trait, scores)
        assert scores["pos", 5] > 85 and scores["neg", 5] < 10, (trait, scores)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("trait", ["cheerful", "cautious"])
def test_both_adapters_move_the_score_apart_by_40_points(answered, trait, temperature):
    ask, _ = answered
    scores = {}
    for side in ("pos", "neg"):
        texts, ended = ask(trait, adapter=f"{trait} {side}", temperature=temperature)
        scores[side] = mean(trait_score(text, trait) for text in texts)
        assert mean(map(coherence, texts)) >= 90 and ended > 0.95
    assert scores["pos"] > scores["neg"] + 40, scores
