"""Traits and what was answered under instructions for and against them, in their public formats.

Below a data root, generated or local: ``persona/traits``, ``persona/traits_eval``,
``persona/responses`` and ``persona/caa``.
"""

from loradrift.data.persona.answers import JudgedAnswer, read_answers
from loradrift.data.persona.choices import Choice, read_choices
from loradrift.data.persona.pairs import KeptPairs, Pair, kept_pairs, split_pairs
from loradrift.data.persona.prompts import prompt_ids, prompt_text
from loradrift.data.persona.traits import Instruction, Trait, read_trait, traits_of

__all__ = [
    "Choice",
    "Instruction",
    "JudgedAnswer",
    "KeptPairs",
    "Pair",
    "Trait",
    "kept_pairs",
    "prompt_ids",
    "prompt_text",
    "read_answers",
    "read_choices",
    "read_trait",
    "split_pairs",
    "traits_of",
]
