"""Labels without training: the most frequent one, a random one, or the untrained model's."""

# Shape suffixes: N rows, C classes, B rows at a time, T tokens, A of the answer, D width, V words.

import operator
import random
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from loradrift.config import Config
from loradrift.data import Row
from loradrift.data.glue import GlueFormat
from loradrift.data.tokens import special_ids, token_ids
from loradrift.models import Backbone
from loradrift.tasks.classification.module import label_scores, prediction_line
from loradrift.tasks.prepared import PreparedData
from loradrift.tasks.spec import Outcome


class Answered(NamedTuple):
    """A prompt with each of its answers."""

    ids: Sequence[Sequence[int]]
    """Token ids of prompt and answer, one list for each answer."""

    start: int
    """Where the answers begin; the tokens before are the same in all lists, at least one."""


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
    columns = zip(rows, chosen_N.tolist(), probabilities_NC.tolist(), strict=True)
    return Outcome(
        {name: float(score(chosen_N, labels_N)) for name, score in scores.items()},
        [prediction_line(row.id, row.label, chosen, each) for row, chosen, each in columns],
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
    """Share (N, C) of each label's words in the likelihood of all labels' words.

    The untrained model's label is the likeliest (Brown et al. 2020, arXiv:2005.14165).
    """
    questions = [form.question.format(text=row.text, pair=row.pair) for row in rows]
    settings = (form.answers, config.task.max_length)
    prompts = [tokenize_answers(data.tokenizer, question, *settings) for question in questions]
    size, pad_id = 2 * config.task.batch_size, data.collate.pad_id
    scores_NC = answer_log_likelihoods(backbone, prompts, pad_id=pad_id, batch_size=size)
    return scores_NC.softmax(1).cpu()


def tokenize_answers(
    tokenizer: Any, question: str, answers: Sequence[str], max_length: int
) -> Answered:
    """Token ids of the question with each answer, and where the answers part.

    Question and answer are tokenised together: a tokenizer may join them, or put a space before a
    text of its own. A long question loses its beginning, since its end asks.
    """
    ids = token_ids(tokenizer, [question + answer for answer in answers])
    bos, _ = special_ids(tokenizer)
    parted = (len(set(tokens)) > 1 for tokens in zip(*ids, strict=False))
    shared = sum(1 for _ in takewhile(operator.not_, parted))
    surplus = max(map(len, ids)) + len(bos) - max_length
    cut = min(max(0, surplus), shared - 1)
    return Answered([bos + each[cut:] for each in ids], len(bos) + shared - cut)


@torch.inference_mode()
def answer_log_likelihoods(
    backbone: Backbone, prompts: Sequence[Answered], *, pad_id: int, batch_size: int
) -> Tensor:
    """Log-likelihood (prompts, answers) of each answer, in nats, summed over its tokens.

    The prompts have equally many answers, and the backbone is in eval mode.
    """
    columns = []
    for answer in range(len(prompts[0].ids)):
        rows = [([*prompt.ids[answer]], prompt.start) for prompt in prompts]
        batches = (rows[i : i + batch_size] for i in range(0, len(rows), batch_size))
        columns.append(torch.cat([_score(backbone, batch, pad_id) for batch in batches]))
    return torch.stack(columns, dim=1)


def _score(backbone: Backbone, rows: Sequence[tuple[list[int], int]], pad_id: int) -> Tensor:
    """Log-likelihood (B,) of each row's tokens from its start on."""
    device = next(backbone.parameters()).device
    width = max(len(ids) for ids, _ in rows)
    ids_BT = torch.tensor([ids + [pad_id] * (width - len(ids)) for ids, _ in rows], device=device)
    ends_B1 = torch.tensor([[len(ids)] for ids, _ in rows], device=device)
    starts_B1 = torch.tensor([[start] for _, start in rows], device=device)
    longest = int((ends_B1 - starts_B1).max())
    places_BA = (ends_B1 - longest + torch.arange(longest, device=device)).clamp(min=1)
    hidden_BTD = backbone.encode(ids_BT)
    rows_B1 = torch.arange(len(rows), device=device)[:, None]
    logits_BAV = backbone.next_token_logits(hidden_BTD[rows_B1, places_BA - 1])
    targets_BA1 = ids_BT.gather(1, places_BA)[..., None]
    scores_BA = logits_BAV.float().log_softmax(-1).gather(2, targets_BA1).squeeze(-1)
    return scores_BA.masked_fill(places_BA < starts_B1, 0.0).sum(1)
