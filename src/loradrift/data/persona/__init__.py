"""Traits and what was answered under instructions for and against them, in their public formats.

Below a data root, generated or local: ``persona/traits``, ``persona/traits_eval`` and
``persona/responses``.
"""

from loradrift.data.persona.answers import JudgedAnswer, read_answers
from loradrift.data.persona.pairs import KeptPairs, Pair, kept_pairs, split_pairs
from loradrift.data.persona.prompts import prompt_ids, prompt_text
from loradrift.data.persona.traits import Instruction, Trait, read_trait, traits_of

__all__ = [
    "Instruction",
    "JudgedAnswer",
    "KeptPairs",
    "Pair",
    "Trait",
    "kept_pairs",
    "prompt_ids",
    "prompt_text",
    "read_answers",
    "read_trait",
    "split_pairs",
    "traits_of",
]
