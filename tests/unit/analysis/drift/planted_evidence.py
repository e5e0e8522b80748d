"""Evidence with a known ratio, for tests of verdicts."""

import numpy as np

from loradrift.analysis.drift.hypotheses import HYPOTHESES, Evidence
from loradrift.analysis.drift.verdicts import decide

H1, H2, H3 = (hypothesis.name for hypothesis in HYPOTHESES)
TASKS = ("sst2", "mrpc", "rte")


def evidence(factor, spread, seeds=5, tasks=TASKS, seed=0):
    """The treatment is ``factor`` times the control, give or take ``spread``."""
    rng = np.random.default_rng(seed)
    control = {task: 0.8 * (1 + 0.02 * rng.normal(size=seeds)) for task in tasks}
    factors = {task: factor + spread * rng.normal(size=seeds) for task in tasks}
    return Evidence({task: control[task] * factors[task] for task in tasks}, control)


def scaled(control, factor, **options):
    """Every value of the treatment is ``factor`` times the control's."""
    return Evidence({task: factor * v for task, v in control.items()}, control, **options)


def outcome(name, data):
    [found] = [o for o in decide({name: data}) if o.hypothesis.name == name]
    return found
