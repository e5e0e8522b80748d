"""Sets of answers for tests of the collapse measures, healthy and not."""

import numpy as np

from loradrift.collapse import Generations

NAMES = 60
"""First tokens of names; a name has one to three tokens of its own."""


def healthy(seed: int, rows: int = 64) -> Generations:
    """Short answers of many names, some with an article, made from latents that are read."""
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(rows):
        name = int(rng.integers(NAMES))
        article = [3] if rng.random() < 0.4 else []
        answers.append(article + [10 + 3 * name + part for part in range(1 + name % 3)])
    loss_N = rng.gamma(4.0, 0.5, rows)
    return said(
        answers,
        latents_NMZ=rng.normal(0.5, 1.0, (rows, 4, 6)),
        gold_loss_N=loss_N,
        swapped_gold_loss_N=loss_N + rng.normal(0.6, 0.8, rows),
        first_token_entropy_N=rng.gamma(2.0, 1.0, rows),
    )


def said(answers, **changes) -> Generations:
    """Some answers with healthy latents and losses, but for the changes."""
    rows = len(answers)
    values = {
        "token_ids": answers,
        "texts": [" ".join(map(str, answer)) for answer in answers],
        "latents_NMZ": np.random.default_rng(rows).normal(size=(rows, 4, 6)),
        "soft_rms": 0.021,
        "embedding_rms": 0.02,
        "first_token_entropy_N": np.ones(rows),
        "gold_loss_N": np.linspace(1, 3, rows),
        "swapped_gold_loss_N": np.linspace(1, 3, rows) + 1.0,
    }
    return Generations(**values | changes)
