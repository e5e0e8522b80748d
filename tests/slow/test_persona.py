"""The persona world at its real size: the base answers in a mixture, adapters move it apart."""

import json
import shutil
from pathlib import Path
from statistics import mean

import pytest
from direction_cases import write_direction
from front_doors import output_of
from leavings import only

from loradrift.adapters.adapter_changes import read_adapter
from loradrift.config import ModelConfig
from loradrift.data import data_root
from loradrift.data.embedded.persona import TRAITS, coherence, trait_score
from loradrift.data.persona import prompt_ids, read_trait
from loradrift.generation.base import EngineSettings, Request, Sampling, open_engine
from loradrift.models import load_tokenizer

pytestmark = pytest.mark.slow

MAX_TOKENS = 128
TRAINED = ("cheerful", "cautious")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, load, cache):
    """Both adapters of two traits, and one that trained with a direction in the weights."""
    from loradrift.runs import open_run
    from loradrift.training import run

    folder = tmp_path_factory.mktemp("runs")

    def train(trait, side, *typed):
        sides = (f"task.trait={trait}", f"task.side={side}", *typed)
        config = load("task=persona", "method=rslora", *sides, f"cache={cache}", f"runs={folder}")
        with open_run(config) as cell:
            return cell.folder / "model", run(config, cell)

    found = {}
    for trait in TRAINED:
        for side in ("pos", "neg"):
            found[f"{trait} {side}"], record = train(trait, side, "seed=1")
    pos, neg = (read_adapter(found[f"{TRAINED[0]} {side}"]) for side in ("pos", "neg"))
    changes = {name: pos[name] - neg[name] for name in pos}
    base = record.fingerprints["base_model"]
    direction = write_direction(folder / "direction", changes=changes, fingerprint=base)
    found["prevented"], _ = train(TRAINED[0], "pos", "seed=2", f"task.direction={direction}")
    found["again"], _ = train(TRAINED[0], "pos", "seed=2")
    return found


@pytest.fixture(scope="module")
def answered(runs, load, cache):
    """Answers of the base and of each adapter to the evaluation questions."""
    from loradrift.training import run
    from loradrift.training.base_model import resolve_model

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

    with open_engine("hf", EngineSettings(base, runs)) as engine:
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
        assert scores["pos", 1] > scores["neg", 1] + 25, (trait, scores)
        assert scores["pos", 5] > 75 and scores["neg", 5] < 25, (trait, scores)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("trait", TRAINED)
def test_both_adapters_move_the_score_apart_by_40_points(answered, trait, temperature):
    ask, _ = answered
    scores = {}
    for side in ("pos", "neg"):
        texts, ended = ask(trait, adapter=f"{trait} {side}", temperature=temperature)
        scores[side] = mean(trait_score(text, trait) for text in texts)
        assert mean(map(coherence, texts)) >= 90 and ended > 0.95
    assert scores["pos"] > scores["neg"] + 40, scores


def test_training_with_the_traits_direction_in_the_weights_prevents_the_trait(answered):
    ask, _ = answered
    scores = {}
    for name in ("again", "prevented"):
        texts, _ = ask(TRAINED[0], adapter=name)
        scores[name] = mean(trait_score(text, TRAINED[0]) for text in texts)
        assert mean(map(coherence, texts)) >= 80
    assert scores["prevented"] < scores["again"] - 30, scores


def test_public_answers_train_tinyllamas_architecture(train_here, shared, tmp_path):
    """Its own tokenizer and all of its 154 linear modules, made narrow."""
    folder = tmp_path / "tinyllama"
    shutil.copytree(shared / "tokenizers/tinyllama", folder)
    config = json.loads((folder / "config.json").read_text())
    small = {"hidden_size": 128, "intermediate_size": 352}
    (folder / "config.json").write_text(json.dumps(config | small))
    typed = ("model=local", f"model.path={folder}", "model.weights=random", "task=persona")
    typed += ("method=rslora", "data=local", f"data.root={shared}", "task.trait=sycophantic")
    sizes = ("task.max_length=384", "task.batch_size=2", "task.max_steps=4", "data.train_rows=40")
    sizes += ("trainer.accumulate=2", "method.rank=32", "data.validation_rows=4")
    output_of(train_here(*typed, *sizes, small=False))
    run, record = only(tmp_path / "runs")
    assert len(read_adapter(run / "model")) == 154
    assert record["certificate"]["passed"] and record["rows"]["kept_pairs"] > 200
