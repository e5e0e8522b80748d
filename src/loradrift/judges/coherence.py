"""Coherence, learned from coherent answers and from the same ones broken in a known share.

The target is the share of words that are intact, so that a score of 75 means a text of which about
a quarter is broken. A text's features come from a language model that has not seen its question,
here as later, when it scores answers to new questions.
"""

# Shape suffixes: N texts, F features.

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np

from loradrift.judges.config import ClassifierConfig
from loradrift.judges.corruptions import KINDS, corrupt
from loradrift.judges.features import Floats
from loradrift.judges.fluency import FEATURES, LanguageModel, fit_language, fluency
from loradrift.judges.logistic import Logistic, fit_logistic, predict
from loradrift.judges.training import Rated, agreement_facts, folds_of
from loradrift.statistics import agreement

COHERENT = 50.0
"""Answers whose own judge gave less take no part in the training."""

MOST_ANSWERS = 3000
"""Coherent answers that are used; more take time and change little."""

CUTS = (12, 100)
"""Words to which they are cut, so that length and end say nothing."""

SHARES = (0.1, 1.0)
"""Between these a corruption's share of the words is drawn."""

RIDGE = 1.0
FAR = 4.0
"""Standard deviations beyond which a feature says no more."""

LINE = 75.0
"""The coherence from which on steering is compared."""


class CoherenceModel(NamedTuple):
    """Scores coherence."""

    language: LanguageModel
    mean_F: Floats
    spread_F: Floats
    logistic: Logistic

    def scores(self, texts: Sequence[str]) -> Floats:
        """Scores from 0 to 100, (N,)."""
        x_NF = (fluency(self.language, texts) - self.mean_F) / self.spread_F
        return 100 * predict(self.logistic, _curved(x_NF))


class Sample(NamedTuple):
    """A text with a known share of intact words."""

    text: str
    question: str
    kind: str
    """``intact``, or one of the kinds of corruption."""

    intact: float


def fit_coherence(
    config: ClassifierConfig, answers: Sequence[Rated]
) -> tuple[CoherenceModel, dict[str, Any]]:
    """Fit the regression; also, how it does on held-out questions."""
    rng = Random(f"{config.seed}/coherence")
    fold_N = folds_of([each.question for each in answers], config.folds, rng, "all traits")
    fold_of = {each.question: int(fold) for each, fold in zip(answers, fold_N, strict=True)}
    coherent = [each for each in answers if each.coherence >= COHERENT]
    chosen = rng.sample(coherent, min(MOST_ANSWERS, len(coherent)))
    languages = [
        fit_language(each.answer for each in chosen if fold_of[each.question] != fold)
        for fold in range(config.folds)
    ]
    samples = draw_samples(rng, chosen)
    judged = rng.sample(list(answers), min(MOST_ANSWERS, len(answers)))
    texts = [each.text for each in samples] + [each.answer for each in judged]
    folds = [fold_of[each.question] for each in samples]
    folds += [fold_of[each.question] for each in judged]
    x_NF, fold_N = features_of(languages, texts, folds), np.array(folds)
    count = len(samples)
    mean_F, spread_F = x_NF[:count].mean(0), np.maximum(x_NF[:count].std(0), 1e-9)
    curved_NF = _curved((x_NF - mean_F) / spread_F)
    targets_N, held_N = np.array([each.intact for each in samples]), np.empty(len(texts))
    learns_N = np.arange(len(texts)) < count
    for fold in range(config.folds):
        inside = (learns_N & (fold_N != fold)).nonzero()[0]
        logistic = fit_logistic(curved_NF[inside], targets_N[inside], RIDGE)
        held_N[fold_N == fold] = 100 * predict(logistic, curved_NF[fold_N == fold])
    facts = _facts(config, samples, held_N[:count]) | {
        "judge": _judge_facts(config, judged, held_N[count:])
    }
    logistic = fit_logistic(curved_NF[:count], targets_N, RIDGE)
    language = fit_language(each.answer for each in chosen)
    return CoherenceModel(language, mean_F, spread_F, logistic), facts


def draw_samples(rng: Random, answers: Sequence[Rated]) -> list[Sample]:
    """Each answer, cut somewhere; and broken in one way."""
    samples = []
    for each in answers:
        own = each.answer.split()[: rng.randint(*CUTS)]
        if len(own) < 2:
            continue
        kind, share = rng.choice(KINDS), rng.uniform(*SHARES)
        other = next((o for o in iter(lambda: rng.choice(answers), None) if o is not each), each)
        broken = corrupt(rng, kind, own, other.answer.split(), share)
        samples.append(Sample(" ".join(own), each.question, "intact", 1.0))
        samples.append(Sample(broken, each.question, kind, 1 - share))
    return samples


def features_of(
    languages: Sequence[LanguageModel], texts: Sequence[str], folds: Sequence[int]
) -> Floats:
    """The features of texts (N, F), each by the language model of its fold."""
    x_NF, fold_N = np.empty((len(texts), len(FEATURES))), np.array(folds)
    for fold, language in enumerate(languages):
        rows = np.flatnonzero(fold_N == fold)
        x_NF[rows] = fluency(language, [texts[int(i)] for i in rows])
    return x_NF


def _curved(x_NF: Floats) -> Floats:
    """Features and their squares: too much and too little can both be wrong."""
    x_NF = np.clip(x_NF, -FAR, FAR)
    return np.concatenate([x_NF, x_NF**2], axis=1)


def _facts(config: ClassifierConfig, samples: Sequence[Sample], held_N: Floats) -> dict[str, Any]:
    """Agreement with the intact share; by kind, how well broken texts are told from intact ones."""
    share_N = np.array([100 * each.intact for each in samples])
    kind_N = np.array([each.kind for each in samples])
    questions = [each.question for each in samples]
    draw = np.random.default_rng(config.seed)
    found = agreement(held_N, share_N, questions, draw, threshold=LINE, num_resamples=500)
    intact = kind_N == "intact"
    facts = {"texts": len(samples), "line": LINE, **agreement_facts(found)}
    facts["intact_from_line"] = float((held_N[intact] >= LINE).mean())
    facts["kinds"] = {}
    for kind in KINDS:
        mine = (kind_N == kind) & (share_N <= 50)
        if not mine.any():
            continue
        rows = np.flatnonzero(mine | intact)
        told = agreement(
            held_N[rows],
            100.0 * intact[rows],
            [questions[int(i)] for i in rows],
            draw,
            num_resamples=500,
        )
        facts["kinds"][kind] = {
            "texts": int(mine.sum()),
            "auroc": agreement_facts(told)["auroc"],
            "from_line": float((held_N[mine] >= LINE).mean()),
            "mean": float(held_N[mine].mean()),
        }
    return facts


def _judge_facts(
    config: ClassifierConfig, judged: Sequence[Rated], held_N: Floats
) -> dict[str, Any]:
    """Agreement with what the answers' own judge says of their coherence.

    ``means`` are of answers for and against each trait: far apart, they would make a trait look
    incoherent.
    """
    theirs_N = np.array([each.coherence for each in judged])
    draw = np.random.default_rng(config.seed)
    questions = [each.question for each in judged]
    found = agreement(held_N, theirs_N, questions, draw, threshold=COHERENT, num_resamples=500)
    counts = {"answers": len(judged), "incoherent": int((theirs_N < COHERENT).sum())}
    told_N = np.array([each.told for each in judged])
    means = {told: float(held_N[told_N == told].mean()) for told in sorted(set(told_N))}
    return counts | agreement_facts(found) | {"means": means}
