"""The files of the world of short contexts: questions in SQuAD v2's format, and its corpus.

A digest of a fact's subject and value gives it to one split (:func:`owner`), and a context only
has facts of its own split: no fact that is asked for in the evaluation is ever said in training.
The facts of a context are of different relations. Several of one would have to be told apart by
their subjects, which the small model does not learn within minutes (after 1,200 steps F1 is 48).
"""

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from loradrift.data.embedded.grammar import owner
from loradrift.data.embedded.reconstruction.lexicon import RELATIONS
from loradrift.files import write_atomic

NUM_DOCUMENTS = {"train": 36000, "valid": 400}
NUM_CONTEXTS = {"train": 4000, "dev": 200, "test": 200}
QUESTIONS_PER_CONTEXT = 2
CONTEXTS_PER_ARTICLE = 20

FACTS = 6
"""Of a context."""

PRETRAINING_FACTS = (1, 2, 3, 4, 6)
"""Of the contexts in the corpus: what is copied from where is learned on the short ones first."""

QUIZZES = 0.5
"""The share of documents that ask for every fact, which is most of what there is to learn from.
They say so at once, so that it is known where a single answer ends."""


class Fact(NamedTuple):
    """A subject's value."""

    relation: str
    subject: str
    value: str

    @property
    def statement(self) -> str:
        """The sentence that says it."""
        return RELATIONS[self.relation].statement.format(subject=self.subject, value=self.value)

    @property
    def question(self) -> str:
        """The question that its value answers."""
        return RELATIONS[self.relation].question.format(subject=self.subject)


def write_reconstruction(root: Path, *, seed: int) -> None:
    """Write ``reconstruction/`` below ``root``; equal seeds give equal bytes.

    ``{train,dev,test}-v2.0.json`` are in SQuAD v2's format, without unanswerable questions;
    ``corpus/{train,valid}.txt`` hold one document a line.
    """
    folder = root / "reconstruction"
    for split in NUM_CONTEXTS:
        squad = {"version": "v2.0", "data": _articles(split, seed)}
        _write(folder / f"{split}-v2.0.json", json.dumps(squad))
    for split, size in NUM_DOCUMENTS.items():
        rng = Random(f"{seed}/reconstruction/corpus/{split}")
        documents = [draw_document(rng, split) for _ in range(size)]
        _write(folder / "corpus" / f"{split}.txt", "\n".join(documents))


def asked(question: str) -> str:
    """What stands between a context and the answer."""
    return f" question : {question} answer :"


def draw_facts(rng: Random, split: str, number: int = FACTS) -> list[Fact]:
    """Facts that ``split`` owns, each of another relation."""
    kinds = rng.sample(tuple(RELATIONS), number)
    return [Fact(kind, *rng.choice(_pairs(kind, split))) for kind in kinds]


def draw_document(rng: Random, split: str) -> str:
    """A context with a question and its answer, as the task has it, or with all questions."""
    facts = draw_facts(rng, split, rng.choice(PRETRAINING_FACTS))
    order = rng.sample(facts, len(facts))
    if rng.random() < QUIZZES:
        answered = (f"{asked(fact.question)} {fact.value}" for fact in order)
        return f"quiz : {_context(facts)}{''.join(answered)}"
    return f"{_context(facts)}{asked(order[0].question)} {order[0].value}"


@cache
def _pairs(kind: str, split: str) -> tuple[tuple[str, str], ...]:
    """Subjects and values of a relation that a split owns."""
    relation = RELATIONS[kind]
    pairs = ((subject, value) for subject in relation.subjects for value in relation.values)
    return tuple(pair for pair in pairs if owner(kind, *pair) == split)


def _context(facts: list[Fact]) -> str:
    return " ".join(fact.statement for fact in facts)


def _articles(split: str, seed: int) -> list[dict[str, Any]]:
    rng = Random(f"{seed}/reconstruction/{split}")
    starts = range(0, NUM_CONTEXTS[split], CONTEXTS_PER_ARTICLE)
    return [
        {
            "title": f"{split}-{start}",
            "paragraphs": [
                _paragraph(rng, split, f"{split}-{start + i}") for i in range(CONTEXTS_PER_ARTICLE)
            ],
        }
        for start in starts
    ]


def _paragraph(rng: Random, split: str, name: str) -> dict[str, Any]:
    """A context and questions on different facts of it."""
    facts = draw_facts(rng, split)
    context = _context(facts)
    entries = []
    for number, fact in enumerate(rng.sample(facts, QUESTIONS_PER_CONTEXT)):
        # behind what the sentence says before it, which may have the same words
        sentence = context.index(fact.statement)
        start = context.index(fact.value, sentence + fact.statement.rindex(fact.value))
        span = {"text": fact.value, "answer_start": start}
        entry = {"id": f"{name}-{number}", "question": fact.question, "answers": [span]}
        entries.append({**entry, "is_impossible": False})
    return {"context": context, "qas": entries}


def _write(path: Path, text: str) -> None:
    with write_atomic(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8", newline="\n")
