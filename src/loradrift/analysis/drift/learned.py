"""Whether a task was learned: whether an arm beats the best constant answer.

A run's ``predictions.jsonl`` holds the labels too, so the score of any constant answer is known.
The best of them is never worse than the majority of the training split.
"""

# Shape suffixes: N rows, C classes.

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from loradrift.analysis.drift.arms import Arms, Run
from loradrift.analysis.drift.budget import trained_longer
from loradrift.analysis.drift.jackknife import jackknife_variance
from loradrift.analysis.drift.pairing import Pair
from loradrift.config import UserError
from loradrift.data.squad_v2.format import Answer, Question
from loradrift.data.squad_v2.metrics import score as score_answers
from loradrift.statistics import Variance, t_interval
from loradrift.statistics.values import Array

AGREES = 1e-4
"""How far the score of the predictions may be from the recorded one, which is a float32."""


class Answers(NamedTuple):
    """What a run answered to the evaluation rows, in the order of their ids."""

    ids: tuple[str, ...]
    labels: list[Any]
    given: list[Any]
    num_classes: int | None
    """None where answers are texts."""


class Judged(NamedTuple):
    """The score of a run, what it is without each row, and that of the best constant answer."""

    score: float
    without_N: Array
    baseline: float
    ids: tuple[str, ...]
    """Of the rows, in the order of ``without_N``."""


Judge = Callable[[Run], Judged]


def learned_table(arms: Arms, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Each task and arm: ``score``, its interval over rows and seeds, ``baseline``, ``learned``.

    ``learned`` is empty where that cannot be judged, and ``why_not_judged`` says why.
    ``row_variance`` (``row_df``) is what the evaluation rows add to the variance of the arms' mean
    log ratio of scores, NaN where it is not known.
    """
    rows, judge = [], cache(judge_run)
    for task in dict.fromkeys(pair.task for pair in pairs):
        varied = _ratio_variance([pair for pair in pairs if pair.task == task], judge)
        for number, arm in enumerate(arms):
            runs = [pair[number] for pair in pairs if pair.task == task]
            metric = runs[0].record.config["task"]["metric"]
            row: dict[str, Any] = {"task": task, "method": arm.name, "metric": metric}
            row |= {"row_variance": varied.value, "row_df": varied.df}
            try:
                row |= _judge_arm(runs, judge)
            except UserError as error:
                row["why_not_judged"] = str(error)
            rows.append(row)
    names = ("score", "ci_lower", "ci_upper", "baseline", "row_variance", "row_df")
    figures = dict.fromkeys(names, float)
    columns = ["task", "method", "metric", "seeds", *figures, "learned", "why_not_judged"]
    table = pd.DataFrame(rows, columns=columns).astype(figures | {"learned": "boolean"})
    return table.assign(
        seeds=table["seeds"].fillna(0).astype(int),
        why_not_judged=table["why_not_judged"].fillna(""),
    )


def not_learned(learned: pd.DataFrame) -> list[str]:
    """The tasks on which neither arm beats the best constant answer."""
    fails = learned["learned"].eq(False).fillna(False)  # three values: NA is no False
    return [str(task) for task, own in fails.groupby(learned["task"], sort=False) if own.all()]


def _judge_arm(runs: Sequence[Run], judge: Judge) -> dict[str, Any]:
    """What the table says of an arm's runs on one task.

    Scores of more training than the arms are compared at show nothing if they are good. If they are
    not, the arm had not learned the task earlier either.
    """
    own = [run for run in runs if not trained_longer(run)]
    judged = judge_runs(own or runs, judge)
    if judged["learned"] and not own:
        raise UserError("its scores are of more training than it is compared at")
    return judged


def judge_runs(runs: Sequence[Run], judge: Judge) -> dict[str, Any]:
    """The score of some runs of an arm, its interval, and whether it beats the constant answer.

    Raises:
        UserError: As :func:`judge_run`, or if they were evaluated on different rows.
    """
    judged = [judge(run) for run in runs]
    if len({len(each.without_N) for each in judged}) > 1:
        raise UserError("its runs were evaluated on different rows")
    rows = jackknife_variance(np.mean([each.without_N for each in judged], axis=0))
    scores = [each.score for each in judged]
    interval = t_interval(scores, rows)
    low, high = interval.low, interval.high
    if len(runs) == 1:  # over rows alone: one seed says nothing of others
        half = stats.t.ppf(0.975, rows.df) * np.sqrt(rows.value)
        low, high = scores[0] - half, scores[0] + half
    baseline = max(each.baseline for each in judged)
    return {
        "seeds": len(runs), "score": interval.estimate, "ci_lower": low, "ci_upper": high,
        "baseline": baseline, "learned": bool(low > baseline),
    }  # fmt: skip


def _ratio_variance(pairs: Sequence[Pair], judge: Judge) -> Variance:
    """By the jackknife over the evaluation rows, which all seeds and both arms share."""
    unknown = Variance(np.nan, np.nan)
    try:
        sides = [[judge(run).without_N for run in pair] for pair in pairs]
    except UserError:
        return unknown
    if len({len(side_N) for pair in sides for side_N in pair}) > 1:
        return unknown
    with np.errstate(divide="ignore", invalid="ignore"):
        logs_N = np.mean([np.log(two) - np.log(one) for one, two in sides], axis=0)
    return jackknife_variance(logs_N) if np.isfinite(logs_N).all() else unknown


def judge_run(run: Run) -> Judged:
    """The score of a run on the reported split, from its predictions.

    Raises:
        UserError: As :func:`judge_predictions`.
    """
    metric = str(run.record.config["task"]["metric"])
    recorded = run.record.metrics.get(f"evaluation/{metric}")
    return judge_predictions(run.folder / "predictions.jsonl", metric, recorded)


def judge_predictions(path: Path, metric: str, recorded: float | None) -> Judged:
    """The score of a file of predictions, which ``run.json`` has ``recorded``.

    Raises:
        UserError: If they are missing, damaged, or not what the recorded score is of, or if the
            metric is none whose constant answers are known.
    """
    answers = read_answers(path)
    score, without_N = _score(_parts(answers, answers.given, metric))
    if recorded is None or not abs(score - recorded) <= AGREES:
        raise UserError(f"{path} has {metric} {score:.4g}, run.json {recorded}")
    constants = _constant_answers(answers)
    baseline = max(
        _score(_parts(answers, [each] * len(answers.ids), metric))[0] for each in constants
    )
    return Judged(score, without_N, baseline, answers.ids)


def read_answers(path: Path) -> Answers:
    """What ``predictions.jsonl`` holds.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        lines.sort(key=lambda line: str(line["id"]))
        ids = tuple(str(line["id"]) for line in lines)
        labels, given = ([line[key] for line in lines] for key in ("label", "prediction"))
        scores = [line.get("score") for line in lines]
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error!r})") from None
    if not 1 < len(set(ids)) == len(ids):
        raise UserError(f"{path} must hold at least two rows, each once")
    whole = all(type(each) is int for each in (*labels, *given))
    classes = len(scores[0]) if isinstance(scores[0], list) else 2
    return Answers(ids, labels, given, classes if whole else None)


def _parts(answers: Answers, given: Sequence[Any], metric: str) -> Array:
    """What each row adds to the two sides of each class's ratio (N, C, 2).

    The score is the mean ratio over the classes that occur.
    """
    if metric == "accuracy" and answers.num_classes is not None:
        pairs = zip(answers.labels, given, strict=True)
        return np.array([[[label == answer, 1]] for label, answer in pairs], dtype=float)
    if metric == "f1" and answers.num_classes is not None:
        classes = [1] if answers.num_classes == 2 else range(answers.num_classes)
        labels_NC, given_NC = (np.equal.outer(x, classes) for x in (answers.labels, given))
        right_NC = labels_NC & given_NC
        return np.stack([2 * right_NC, labels_NC.astype(int) + given_NC], axis=2).astype(float)
    texts = all(isinstance(label, list) for label in answers.labels)
    if metric in ("f1", "exact") and texts and all(isinstance(each, str) for each in given):
        golds = [tuple(Answer(text, 0) for text in label) for label in answers.labels]
        asked = zip(answers.ids, golds, strict=True)
        questions = [Question(id, "", "", gold, (), "") for id, gold in asked]
        scores = score_answers(questions, dict(zip(answers.ids, given, strict=True)))
        values: Mapping[str, float] = getattr(scores, metric)
        return np.array([[[values[id], 1]] for id in answers.ids], dtype=float)
    raise UserError(f"no constant answer is known whose {metric} could be beaten")


def _constant_answers(answers: Answers) -> list[Any]:
    """Every label; of texts none at all, and the most frequent one."""
    if answers.num_classes is not None:
        return sorted(set(answers.labels))
    texts = Counter(text for label in answers.labels for text in label)
    return ["", *(text for text, _ in texts.most_common(1))]


def _score(parts_NC2: Array) -> tuple[float, Array]:
    """The score of all rows, and of all but each."""
    total_C2 = parts_NC2.sum(axis=0)
    return float(_ratio(total_C2)), _ratio(total_C2 - parts_NC2)


def _ratio(totals: Array) -> Array:
    """Mean ratio (...) of both sides (..., C, 2) over the classes that occur; 0 if none does."""
    above, below = totals[..., 0], totals[..., 1]
    ratios = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    mean: Array = ratios.sum(axis=-1) / np.maximum(1, (below > 0).sum(axis=-1))
    return mean
