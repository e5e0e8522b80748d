"""Similarity of representations, by instruments that prove themselves."""

from loradrift.similarity.measures import MEASURES, Measure

__all__ = ["MEASURES", "Measure"]
