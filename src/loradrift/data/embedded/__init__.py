"""Generated corpora in the official file formats, for runs that need no download.

Three classification tasks, questions on paragraphs and a language-modelling corpus share one
grammar of several hundred words. They are made so that a majority vote, a bag of words and a small
transformer differ clearly: negation scope, who did what to whom, and which clause decides cannot be
read off the words alone.

The splits are disjoint by construction. Every sentence is made of content combinations (the subject
of an opinion with its word; the verb of a fact with the kinds of its participants), and a stable
digest gives each combination to one of train, dev, test and valid
(:func:`~loradrift.data.embedded.grammar.owner`). A sentence only uses what its split owns, so no
sentence occurs in two splits. ``corpus/train.txt`` is made from the combinations of train and
``corpus/valid.txt`` from those of valid: neither holds a sentence of dev or test.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from loradrift.data.embedded.documents import draw_document
from loradrift.data.embedded.grammar import draw_fact, render
from loradrift.data.embedded.persona import write_persona
from loradrift.data.embedded.questions import QUESTIONS_PER_PARAGRAPH, draw_article
from loradrift.data.embedded.reconstruction import write_reconstruction
from loradrift.data.embedded.reviews import draw_sentence
from loradrift.data.embedded.variations import distort_somehow, weaken
from loradrift.files import write_atomic

NUM_ROWS = {"train": 8000, "dev": 800, "test": 800}
NUM_DOCUMENTS = {"train": 12000, "valid": 500}
NUM_QUESTIONS = {"train": 32000, "dev": 800, "test": 800}
PARAGRAPHS_PER_ARTICLE = 20

Row = tuple[str, ...]


def write_embedded(root: Path, *, seed: int) -> None:
    """Write all corpora below ``root``; equal seeds give equal bytes.

    ``glue/{SST-2,MRPC,RTE}/{train,dev,test}.tsv`` are unquoted tables with the official headers.
    Unlike GLUE's, the test files carry labels. ``squad_v2/{train,dev,test}-v2.0.json`` are in the
    official format. ``corpus/{train,valid}.txt`` hold one document a line. ``persona/`` and
    ``reconstruction/`` are worlds of their own (:mod:`loradrift.data.embedded.persona`,
    :mod:`loradrift.data.embedded.reconstruction`).

    Args:
        root: Created if absent; files that are there are replaced atomically.
        seed: Picks the sentences. Which combinations a split owns does not depend on it.
    """
    for split in NUM_ROWS:
        tables = {
            "SST-2": ("sentence\tlabel", _opinions(split, seed)),
            # The byte-order mark is the official file's own.
            "MRPC": (
                "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
                _paraphrases(split, seed),
            ),
            "RTE": ("index\tsentence1\tsentence2\tlabel", _inferences(split, seed)),
        }
        for name, (header, rows) in tables.items():
            _write(root / "glue" / name / f"{split}.tsv", [header, *map("\t".join, rows)])
        squad = {"version": "v2.0", "data": _articles(split, seed)}
        _write(root / "squad_v2" / f"{split}-v2.0.json", [json.dumps(squad)])
    for split, num_documents in NUM_DOCUMENTS.items():
        rng = Random(f"{seed}/corpus/{split}")
        documents = [draw_document(rng, split) for _ in range(num_documents)]
        _write(root / "corpus" / f"{split}.txt", documents)
    write_persona(root, seed=seed)
    write_reconstruction(root, seed=seed)


def _write(path: Path, lines: list[str]) -> None:
    with write_atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _distinct(draw: Callable[[], Row], num_rows: int) -> list[Row]:
    """Different rows in the order drawn."""
    rows: dict[Row, None] = {}
    while len(rows) < num_rows:
        rows[draw()] = None
    return list(rows)


def _opinions(split: str, seed: int) -> list[Row]:
    rng = Random(f"{seed}/SST-2/{split}")

    def draw() -> Row:
        good = rng.random() < 0.54
        return f"{draw_sentence(rng, split, good=good)} .", str(int(good))

    return _distinct(draw, NUM_ROWS[split])


def _paraphrases(split: str, seed: int) -> list[Row]:
    rng = Random(f"{seed}/MRPC/{split}")

    def draw() -> Row:
        first, second, same = draw_paraphrase(rng, split)
        return str(int(same)), first, second

    # Ids do not repeat across splits.
    offset = 10_000_000 * (1 + list(NUM_ROWS).index(split))
    rows = _distinct(draw, NUM_ROWS[split])
    return [
        (quality, str(offset + 2 * i), str(offset + 2 * i + 1), *strings)
        for i, (quality, *strings) in enumerate(rows)
    ]


def _inferences(split: str, seed: int) -> list[Row]:
    rng = Random(f"{seed}/RTE/{split}")

    def draw() -> Row:
        premise, hypothesis, follows = draw_inference(rng, split)
        return premise, hypothesis, "entailment" if follows else "not_entailment"

    rows = _distinct(draw, NUM_ROWS[split])
    return [(str(i), *row) for i, row in enumerate(rows)]


def _articles(split: str, seed: int) -> list[dict[str, Any]]:
    rng = Random(f"{seed}/SQuAD/{split}")
    paragraphs = NUM_QUESTIONS[split] // QUESTIONS_PER_PARAGRAPH
    names = (f"{split}-{i}" for i in range(0, paragraphs, PARAGRAPHS_PER_ARTICLE))
    return [draw_article(rng, split, name, PARAGRAPHS_PER_ARTICLE) for name in names]


def draw_paraphrase(rng: Random, split: str) -> tuple[str, str, bool]:
    """Two sentences, and whether they say the same."""
    fact = draw_fact(rng, split)
    same = rng.random() < 0.62
    other = fact if same else distort_somehow(rng, fact)
    first = render(rng, fact)
    second = render(rng, other)
    while second == first:
        second = render(rng, other)
    return f"{first} .", f"{second} .", same


def draw_inference(rng: Random, split: str) -> tuple[str, str, bool]:
    """A premise of one or two sentences, a hypothesis, and whether it follows."""
    fact = draw_fact(rng, split)
    beside = draw_fact(rng, split) if rng.random() < 0.1 else None
    follows = rng.random() < 0.53
    hypothesis = (
        weaken(rng, fact) if follows else weaken(rng, distort_somehow(rng, fact, elsewhere=beside))
    )
    sentences = [render(rng, each) for each in (fact, beside) if each]
    rng.shuffle(sentences)
    return " . ".join(sentences) + " .", f"{render(rng, hypothesis)} .", follows
