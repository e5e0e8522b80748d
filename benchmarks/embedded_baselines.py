"""What the embedded tasks are worth without a language model.

Prints the dev accuracy of a majority vote and of a bag of words for every embedded task::

    python benchmarks/embedded_baselines.py --root data/embedded
"""

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Table(NamedTuple):
    """How one task's file says what the model needs."""

    texts: tuple[str, ...]
    label: str
    positive: str


TABLES = {
    "SST-2": Table(("sentence",), "label", "1"),
    "MRPC": Table(("#1 String", "#2 String"), "Quality", "1"),
    "RTE": Table(("sentence1", "sentence2"), "label", "entailment"),
}


class Split(NamedTuple):
    """The rows of one file: words of each text, and labels in {0, 1}."""

    words: list[tuple[list[str], ...]]
    labels: Tensor


def read_split(root: Path, task: str, split: str) -> Split:
    """Read an official TSV file.

    Args:
        root: Folder that ``write_embedded`` filled.
        task: A key of :data:`TABLES`.
        split: ``train``, ``dev`` or ``test``.
    """
    table = TABLES[task]
    path = root / "glue" / task / f"{split}.tsv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    words = [tuple(row[text].split() for text in table.texts) for row in rows]
    return Split(words, torch.tensor([float(row[table.label] == table.positive) for row in rows]))


def vocabulary(split: Split) -> dict[tuple[int, str], int]:
    """(side, word) -> column, for the words of the training rows."""
    seen = Counter(
        (side, word) for row in split.words for side, words in enumerate(row) for word in words
    )
    return {key: column for column, key in enumerate(sorted(seen))}


def features(split: Split, columns: dict[tuple[int, str], int]) -> Tensor:
    """Word counts of each side and, for pairs, the share of distinct words both sides have.

    Returns:
        ``(rows, columns + 1)``.
    """
    x = torch.zeros(len(split.words), len(columns) + 1)
    for i, row in enumerate(split.words):
        for side, words in enumerate(row):
            for word in words:
                column = columns.get((side, word))
                if column is not None:
                    x[i, column] += 1
        if len(row) == 2:
            first, second = map(set, row)
            x[i, -1] = len(first & second) / len(first | second)
    return x


def logistic_regression(x: Tensor, y: Tensor, *, penalty: float) -> Tensor:
    """Weights, then bias, that minimise the L2-penalised log loss (bias not penalised)."""
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1).double()
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.binary_cross_entropy_with_logits(x @ weights, y.double())
        value = value + penalty * weights[:-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def majority_accuracy(train: Split, dev: Split) -> float:
    """Dev accuracy of always answering the most frequent training label."""
    return float((dev.labels == float(train.labels.mean() > 0.5)).double().mean())


def bag_of_words_accuracy(train: Split, dev: Split, *, penalty: float = 1e-4) -> float:
    """Dev accuracy of a logistic regression on word counts."""
    columns = vocabulary(train)
    weights = logistic_regression(features(train, columns), train.labels, penalty=penalty)
    scores = features(dev, columns).double() @ weights[:-1] + weights[-1]
    return float(((scores > 0) == (dev.labels > 0.5)).double().mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, required=True, help="folder with glue/ below it")
    root = parser.parse_args(argv).root
    print(f"{'task':8}{'majority':>10}{'bag of words':>14}")
    for task in TABLES:
        train, dev = read_split(root, task, "train"), read_split(root, task, "dev")
        majority, words = majority_accuracy(train, dev), bag_of_words_accuracy(train, dev)
        print(f"{task:8}{100 * majority:10.1f}{100 * words:14.1f}")


if __name__ == "__main__":
    main()
