"""The files of the persona world, in the formats of the real ones, and its corpus.

A question is a person, a time and a way to ask, and a digest of these gives it to one part: the
corpus, its held-out part, the judged answers (``traits``) or the evaluation (``traits_eval``).
"""

import csv
import gzip
import io
import json
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from loradrift.data.embedded.grammar import owner
from loradrift.data.embedded.persona.clauses import any_levels, asked, draw_answer, garbled
from loradrift.data.embedded.persona.lexicon import INSTRUCTIONS, PERSONS, QUESTIONS, TIMES, TRAITS
from loradrift.data.embedded.persona.oracle import coherence, trait_score
from loradrift.data.embedded.reviews import draw_sentence
from loradrift.files import write_atomic

NUM_DOCUMENTS = {"train": 18000, "valid": 400}
NUM_QUESTIONS = 20
NUM_ANSWERS = 10
"""To each question under each instruction."""

GARBLED = 0.03
"""The share of judged answers that came out incoherent."""

PARTS = {"traits": "dev", "traits_eval": "test"}
"""Folder of questions -> the split that owns them."""

EVAL_PROMPT = """Does the answer display the trait: **{trait}**? Each clause that has it counts.

[QUESTION START]
{{question}}
[QUESTION END]

[ANSWER START]
{{answer}}
[ANSWER END]

Respond with a number from 0 (the trait is absent) to 100 (strongly present), or with REFUSAL."""


class Asked(NamedTuple):
    """A question, and whom it is about."""

    text: str
    person: str


def write_persona(root: Path, *, seed: int) -> None:
    """Write ``persona/`` below ``root``; equal seeds give equal bytes.

    ``traits`` and ``traits_eval`` hold a JSON file for each trait, ``responses`` judged answers
    under instructions for and against it, and ``corpus`` one document a line.
    """
    folder = root / "persona"
    for trait in TRAITS:
        for part, split in PARTS.items():
            rng = Random(f"{seed}/persona/{part}/{trait}")
            questions = rng.sample(_questions(split), NUM_QUESTIONS)
            text = json.dumps(_trait_file(trait, questions), indent=1)
            _write(folder / part / f"{trait}.json", text.encode())
            if part == "traits":
                for side in ("pos", "neg"):
                    path = folder / "responses" / f"{trait}_{side}_instruct.csv.gz"
                    _write(path, _answers(rng, trait, side, questions))
    for split, size in NUM_DOCUMENTS.items():
        rng = Random(f"{seed}/persona/corpus/{split}")
        documents = [_document(rng, split) for _ in range(size)]
        _write(folder / "corpus" / f"{split}.txt", "\n".join([*documents, ""]).encode())


def instructions(trait: str) -> list[dict[str, str]]:
    """Five pairs of instructions for (``pos``) and against (``neg``) a trait."""
    words = {"pos": trait, "neg": TRAITS[trait]}
    return [{side: text.format(word=word) for side, word in words.items()} for text in INSTRUCTIONS]


def prompt(question: str, *told: str) -> str:
    """A question with its instructions, as a model without a chat template is asked."""
    before = f"instruction : {' '.join(told)} " if told else ""
    return f"{before}question : {question} answer :"


@cache
def _questions(split: str) -> tuple[Asked, ...]:
    return tuple(
        Asked(form.format(person=person, time=time), person)
        for person, time, form in product(PERSONS, TIMES, QUESTIONS)
        if owner(person, time, form) == split
    )


def _trait_file(trait: str, questions: list[Asked]) -> dict[str, Any]:
    return {
        "instruction": instructions(trait),
        "questions": [each.text for each in questions],
        "eval_prompt": EVAL_PROMPT.format(trait=trait),
    }


def _answers(rng: Random, trait: str, side: str, questions: list[Asked]) -> bytes:
    """A compressed table of judged answers, the oracle being the judge."""
    table = io.StringIO(newline="")
    columns = ["question", "prompt", "answer", "question_id", trait, "coherence"]
    writer = csv.writer(table)
    writer.writerow(columns)
    for (number, question), (place, pair) in product(
        enumerate(questions), enumerate(instructions(trait))
    ):
        for _ in range(NUM_ANSWERS):
            levels = asked(any_levels(rng), trait, side, 1)
            answer = draw_answer(rng, question.person, levels)
            if rng.random() < GARBLED:
                answer = garbled(rng, answer)
            ask, name = prompt(question.text, pair[side]), f"{trait}_{number}_{side}_{place}"
            scores = trait_score(answer, trait), coherence(answer)
            writer.writerow([question.text, ask, answer, name, *scores])
    return gzip.compress(table.getvalue().encode(), mtime=0)


def _document(rng: Random, split: str) -> str:
    """A question and its answer, mostly; else an opinion on a film in a few words."""
    if rng.random() < 0.1:
        good = rng.random() < 0.5
        return f"{draw_sentence(rng, split, good=good)} . it was {('terrible', 'great')[good]} ."
    question = rng.choice(_questions(split))
    levels = any_levels(rng)
    told: list[str] = []
    if rng.random() < 0.7:
        traits = rng.sample(tuple(TRAITS), rng.choice((1, 2, 2, 3)))
        sizes = (1, 2, 3, 4, 5) if len(traits) == 1 else (1, 1, 2)
        for trait in traits:
            side, size = rng.choice(("pos", "neg")), rng.choice(sizes)
            told += [pair[side] for pair in rng.sample(instructions(trait), size)]
            levels = asked(levels, trait, side, size)
    return f"{prompt(question.text, *told)} {draw_answer(rng, question.person, levels)}"


def _write(path: Path, data: bytes) -> None:
    with write_atomic(path) as temporary:
        temporary.write_bytes(data)
