"""A few evaluation rows with their texts, drawn before anybody looks at the answers."""

import numpy as np
import pandas as pd

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.reading import SOFT_PROMPT
from loradrift.analysis.reconstruction.scores import RUNGS, Scores

NUMBER = 3


def example_table(scores: Scores, arms: list[Arm], seed: int) -> pd.DataFrame:
    """Rows drawn by ``seed``: text, question, gold, and the answers of rungs and of these arms.

    Answers of an arm are those of its first seed.
    """
    known = [each for each in scores.first.examples if each["id"] in set(scores.ids)]
    drawn = np.random.default_rng(seed).permutation(len(known))[:NUMBER]
    rows = []
    for each in (known[place] for place in sorted(drawn)):
        row = {
            "text": each["context"],
            "question": each["question"],
            "gold": " | ".join(each["gold"]),
            RUNGS["full_text"]: _answer(scores, each["id"], "full_text"),
        }
        row |= {arm.text: _answer(scores, each["id"], SOFT_PROMPT, arm) for arm in arms}
        row[RUNGS["no_context"]] = _answer(scores, each["id"], "no_context")
        rows.append(row)
    return pd.DataFrame(rows)


def _answer(scores: Scores, id: str, rung: str, arm: Arm | None = None) -> str | None:
    run = scores.first if arm is None else scores.by_arm[arm][scores.seeds(arm)[0]]
    if rung not in run.rungs:
        return None
    return str(run.rungs[rung].loc[id, "answer"])
