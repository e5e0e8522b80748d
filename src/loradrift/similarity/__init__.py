"""Similarity of representations, by instruments that prove themselves."""

from loradrift.similarity.measures import MEASURES, Measure
from loradrift.similarity.self_check import SelfCheck, SelfCheckError, raise_failed, self_check

__all__ = ["MEASURES", "Measure", "SelfCheck", "SelfCheckError", "raise_failed", "self_check"]
