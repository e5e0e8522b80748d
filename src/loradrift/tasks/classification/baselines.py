"""Labels without training: the most frequent one, a random one, or the untrained model's."""

# Shape suffixes: N rows, C classes.

import operator
import random
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from loradrift.config import Config
from loradrift.data import Row
from loradrift.data.glue import GlueFormat
from loradrift.models import Backbone
from loradrift.tasks.classification.module import label_scores, prediction_line
from loradrift.tasks.classification.zero_shot import Answered, answer_log_likelihoods
from loradrift.tasks.prepared import PreparedData
from loradrift.tasks.spec import Outcome


def predict_labels(
    form: GlueFormat,
    config: Config,
    data: PreparedData,
    rows: Sequence[Row],
    backbone: Backbone | None,
) -> Outcome:
    """Accuracy and F1 of ``majority``, ``random`` or ``zero_shot``."""
    num_classes = len(form.labels)
    match config.method.name:
        case "majority":
            counts = Counter(row.label for row in data.splits.train)
            most = max(range(num_classes), key=counts.__getitem__)  # of equal ones the first
            probabilities_NC = _certain([most] * len(rows), num_classes)
        case "random":
            probabilities_NC = random_labels(config.seed, len(rows), num_classes)
        case "zero_shot":
            assert backbone is not None
            probabilities_NC = zero_shot(form, config, data, rows, backbone)
        case name:
            raise AssertionError(f"no baseline is called {name}")
    chosen_N = probabilities_NC.argmax(1)
    labels_N = torch.tensor([row.label for row in rows])
    scores = label_scores(num_classes)
    return Outcome(
        {name: float(score(chosen_N, labels_N)) for name, score in scores.items()},
        [
            prediction_line(row.id, row.label, chosen, probabilities)
            for row, chosen, probabilities in zip(
                rows, chosen_N.tolist(), probabilities_NC.tolist(), strict=True
            )
        ],
    )


def random_labels(seed: int, num_rows: int, num_classes: int) -> Tensor:
    """Probabilities (N, C) whose largest is any label's, each as often."""
    draw = random.Random(f"{seed} {num_rows}")
    chances = [draw.random() for _ in range(num_rows)]
    if num_classes == 2:
        second_N = torch.tensor(chances)
        return torch.stack([1 - second_N, second_N], dim=1)
    return _certain([int(chance * num_classes) for chance in chances], num_classes)


def _certain(labels: Sequence[int], num_classes: int) -> Tensor:
    return F.one_hot(torch.tensor(labels), num_classes).float()


def zero_shot(
    form: GlueFormat, config: Config, data: PreparedData, rows: Sequence[Row], backbone: Backbone
) -> Tensor:
    """Share (N, C) of each label's words in the likelihood of all labels' words."""
    questions = [form.question.format(text=row.text, pair=row.pair) for row in rows]
    scores_NC = answer_log_likelihoods(
        backbone,
        [
            tokenize_answers(data.tokenizer, question, form.answers, config.task.max_length)
            for question in questions
        ],
        pad_id=data.collate.pad_id,
        batch_size=2 * config.task.batch_size,
    )
    return scores_NC.softmax(1).cpu()


def tokenize_answers(
    tokenizer: Any, question: str, answers: Sequence[str], max_length: int
) -> Answered:
    """Token ids of the question with each answer, and where the answers part.

    Question and answer are tokenised together: a tokenizer may join them, or put a space before a
    text of its own. A long question loses its beginning, since its end asks.
    """
    texts = [question + answer for answer in answers]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    parted = (len(set(tokens)) > 1 for tokens in zip(*ids, strict=False))
    shared = sum(1 for _ in takewhile(operator.not_, parted))
    surplus = max(map(len, ids)) + len(bos) - max_length
    cut = min(max(0, surplus), shared - 1)
    return Answered([bos + each[cut:] for each in ids], len(bos) + shared - cut)
