"""Logistic regression towards shares: the expected score of an answer, from 0 to 1.

The loss is the mean cross-entropy between the target share t and p = 1 / (1 + exp(-(x w + b))),
plus ridge / (2 N) |w|^2; the intercept b is not held back. With targets of 0 and 1 it is the usual
one. It is convex, and L-BFGS finds its one minimum from zero: nothing is drawn.
"""

# Shape suffixes: N answers, V features.

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from loradrift.judges.features import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Logistic(NamedTuple):
    """Weights of a fitted regression."""

    weights_V: Floats
    intercept: float


def fit_logistic(x_NV: "csr_array | Floats", targets_N: Floats, ridge: float) -> Logistic:
    """Fit to targets in [0, 1].

    Raises:
        ValueError: If a target is no share, or there is none.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    if not len(targets_N) or not ((targets_N >= 0) & (targets_N <= 1)).all():
        raise ValueError("targets must be shares between 0 and 1, and at least one")
    count = len(targets_N)

    def loss(theta: Floats) -> tuple[float, Floats]:
        weights_V, intercept = theta[:-1], theta[-1]
        logits_N = x_NV @ weights_V + intercept
        cross_entropy = np.logaddexp(0, logits_N).mean() - (targets_N * logits_N).mean()
        errors_N = (expit(logits_N) - targets_N) / count
        gradient_V = x_NV.T @ errors_N + ridge / count * weights_V
        penalty = 0.5 * ridge / count * float(weights_V @ weights_V)
        return float(cross_entropy) + penalty, np.append(gradient_V, errors_N.sum())

    start = np.zeros(x_NV.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B",
                     options={"maxiter": 1000, "gtol": 1e-6, "ftol": 1e-12})  # fmt: skip
    return Logistic(found.x[:-1], float(found.x[-1]))


def predict(model: Logistic, x_NV: "csr_array | Floats") -> Floats:
    """The expected share of each row, (N,)."""
    from scipy.special import expit

    shares_N: Floats = expit(x_NV @ model.weights_V + model.intercept)
    return shares_N
