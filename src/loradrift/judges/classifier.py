"""``judge=classifier``: an offline judge, trained on the judged answers below ``data.root``.

For each trait a logistic regression on TF-IDF of an answer's first words and pairs of words,
towards the score that the files' own judge gave; one more for coherence. It is made once and kept
as plain arrays and text, for every later process.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loradrift.caching import cached, entry
from loradrift.config import DataConfig, UserError
from loradrift.data import data_root
from loradrift.data.persona import read_answers
from loradrift.data.persona.answers import answers_file
from loradrift.files import read_json, write_json
from loradrift.judges.base import Item, Score, Status, check_trait, unscored
from loradrift.judges.coherence import CoherenceModel, fit_coherence
from loradrift.judges.config import ClassifierConfig
from loradrift.judges.features import Vocabulary, terms
from loradrift.judges.fluency import LanguageModel
from loradrift.judges.logistic import Logistic
from loradrift.judges.training import Rated, TraitModel, fit_trait
from loradrift.progress import announced

SIDES = ("pos", "neg")

LIMITS = (
    "It reads words, not meaning: it has learned how one model (the one that gave the answers it "
    "was trained on) sounds with and without a trait, on a few questions.",
    "It does not know whether a statement is true, so a hallucination that sounds sure is seen "
    "only by how such answers sound.",
    "It knows no refusals: an answer that refuses is scored like any other.",
    "Coherence is about words in their order, repetitions and symbols. It does not see whether an "
    "answer is about its question, contradicts itself, or is wrong; a short answer shows little of "
    "either kind.",
)


class Trained(NamedTuple):
    """What is kept of a training."""

    traits: dict[str, TraitModel]
    coherence: CoherenceModel
    tokens: int
    """Words of an answer that are read for its trait."""

    facts: dict[str, Any]
    fingerprint: str


class ClassifierJudge:
    """Scores answers by what was learned.

    Args:
        trained: It.
    """

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        self.name = "classifier"
        self.traits = tuple(trained.traits)
        self.facts: Mapping[str, Any] = trained.facts
        self.fingerprint = trained.fingerprint
        self.costs: Mapping[str, float] = {}

    def score(self, trait: str, items: Sequence[Item]) -> Iterator[Score]:
        """Score answers in their order."""
        check_trait(self, trait)
        texts, tokens = [item.answer for item in items], self._trained.tokens
        scores = self._trained.traits[trait].scores([terms(text, tokens) for text in texts])
        coherence = self._trained.coherence.scores(texts)
        for item, score, coherent in zip(items, scores, coherence, strict=True):
            if item.answer.strip():
                yield Score(item.id, float(score), float(coherent), Status.SCORED)
            else:
                yield unscored(item, Status.EMPTY)


@contextmanager
def opened_classifier(
    config: ClassifierConfig, data: DataConfig, cache: Path
) -> Iterator[ClassifierJudge]:
    """The classifier of some judged answers."""
    yield ClassifierJudge(trained(config, data, cache))


def trained(config: ClassifierConfig, data: DataConfig, cache: Path) -> Trained:
    """The classifier of some judged answers: from the cache, or trained now.

    Raises:
        UserError: If there are no judged answers, a file is damaged, or they are too few.
    """
    root = data_root(data, cache)
    files = answer_files(root)
    settings = {"tokens": config.tokens, "ridge": config.ridge, "folds": config.folds,
                "seed": config.seed}  # fmt: skip
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for pair in files.values()
        for path in pair
    }
    own = sorted(Path(__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in own)).hexdigest()
    key = {"settings": settings, "files": hashes, "code": code}
    place = entry(cache / "judges" / "classifier", key)

    def make(folder: Path) -> None:
        answers = {trait: rated_answers(root, trait) for trait in files}
        with announced("the classifier is trained"):
            _write(folder, answers, config, {"settings": settings, "files": hashes})

    return cached(place, make, lambda folder: _read(folder, place.name))


def answer_files(root: Path) -> dict[str, tuple[Path, Path]]:
    """Trait -> its two files of judged answers.

    Raises:
        UserError: If there is none, or one has a single side; names the file that is missing.
    """
    folder = root / "persona" / "responses"
    traits = sorted(
        {
            path.name.partition(f"_{side}_instruct")[0]
            for side in SIDES
            for path in folder.glob(f"*_{side}_instruct.csv*")
        }
    )
    if not traits:
        raise UserError(f"{folder} holds no judged answers, which judge=classifier learns from")
    pos, neg = SIDES
    return {each: (answers_file(root, each, pos), answers_file(root, each, neg)) for each in traits}


def rated_answers(root: Path, trait: str) -> list[Rated]:
    """The answers of both sides that have a word and both scores.

    Raises:
        UserError: If a file is damaged.
    """
    return [
        Rated(each.question, each.answer, each.score, each.coherence, f"{trait} {side}")
        for side in SIDES
        for each in read_answers(root, trait, side)
        if each.answer.strip() and each.score is not None and each.coherence is not None
    ]


def _write(
    folder: Path,
    answers: Mapping[str, Sequence[Rated]],
    config: ClassifierConfig,
    facts: Mapping[str, Any],
) -> None:
    folder.mkdir()
    held_out: dict[str, Any] = {}
    for trait, own in answers.items():
        model, held_out[trait] = fit_trait(config, trait, own)
        np.savez(
            folder / f"{trait}.npz",
            terms=np.array(model.vocabulary.terms),
            idf=model.vocabulary.idf_V,
            weights=model.logistic.weights_V,
            intercept=model.logistic.intercept,
        )
    every = [each for own in answers.values() for each in own]
    coherence, coherence_facts = fit_coherence(config, every)
    np.savez(
        folder / "coherence.npz",
        mean=coherence.mean_F,
        spread=coherence.spread_F,
        weights=coherence.logistic.weights_V,
        intercept=coherence.logistic.intercept,
    )
    single, pairs, spellings = coherence.language
    language = {
        "single": single,
        "pairs": [[*pair, count] for pair, count in pairs.items()],
        "spellings": sorted(spellings),
    }
    (folder / "language.json").write_text(json.dumps(language), encoding="utf-8")
    agreement = {"held_out": "questions", "traits": held_out, "coherence": coherence_facts}
    limits = {"agreement": agreement, "limits": list(LIMITS)}
    write_json(folder / "facts.json", {**facts, **limits, "traits": list(answers)})


def _read(folder: Path, fingerprint: str) -> Trained:
    """Read what :func:`_write` wrote; a ValueError or LookupError if it is damaged."""
    facts = read_json(folder / "facts.json")
    models = {}
    for trait in facts.pop("traits"):
        with np.load(folder / f"{trait}.npz", allow_pickle=False) as saved:
            vocabulary = Vocabulary(tuple(map(str, saved["terms"])), saved["idf"])
            logistic = Logistic(saved["weights"], float(saved["intercept"]))
            models[trait] = TraitModel(vocabulary, logistic)
    saved_language = read_json(folder / "language.json")
    pairs = {(first, second): count for first, second, count in saved_language["pairs"]}
    spellings = frozenset(saved_language["spellings"])
    language = LanguageModel(saved_language["single"], pairs, spellings)
    with np.load(folder / "coherence.npz", allow_pickle=False) as saved:
        coherence = CoherenceModel(
            language,
            saved["mean"],
            saved["spread"],
            Logistic(saved["weights"], float(saved["intercept"])),
        )
    return Trained(models, coherence, int(facts["settings"]["tokens"]), facts, fingerprint)
