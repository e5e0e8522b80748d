"""Whether a model that answers has collapsed, and why: measures of its answers, one verdict.

Pure functions of tokens, latents and numbers; the callback that asks them while a run trains is
:class:`loradrift.callbacks.collapse_detector.CollapseDetector`.
"""

from loradrift.collapse.generations import Generations
from loradrift.collapse.measures import CollapseMeasures, measures
from loradrift.collapse.verdict import CAUSES, Verdict, swapped_gap, verdict

__all__ = ["CAUSES", "CollapseMeasures", "Generations", "Verdict", "measures", "swapped_gap",
           "verdict"]  # fmt: skip
