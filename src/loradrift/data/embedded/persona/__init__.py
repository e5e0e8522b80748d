"""A world of short answers in which traits can be seen, with an exact judge.

Somebody answers questions about the people of a town, in clauses of one grammar. A trait is a
marker that a clause has or lacks; how often depends on the speaker, and on what an instruction
before the question asks for. So scores of trait and coherence are facts of an answer's text
(:func:`trait_score`, :func:`coherence`), where a real study has to ask a judge.
"""

from loradrift.data.embedded.persona.lexicon import TRAITS
from loradrift.data.embedded.persona.oracle import coherence, trait_score
from loradrift.data.embedded.persona.write import write_persona

__all__ = ["TRAITS", "coherence", "trait_score", "write_persona"]
