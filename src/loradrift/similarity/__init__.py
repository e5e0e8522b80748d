"""Similarity of representations, by instruments that prove themselves."""

from loradrift.similarity.measures import MEASURES, Measure
from loradrift.similarity.prove import Proof, ProofError, check, prove

__all__ = ["MEASURES", "Measure", "Proof", "ProofError", "check", "prove"]
