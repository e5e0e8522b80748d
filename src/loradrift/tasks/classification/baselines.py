"""Labels without training: the most frequent one, a random one, or the untrained model's."""

# Shape suffixes: N rows, C classes, B rows at a time, T tokens, P places, D width, V words.

import operator
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from loradrift.config import Config
from loradrift.data import Row
from loradrift.data.glue import GlueFormat
from loradrift.data.tokens import special_ids, token_ids
from loradrift.models import Backbone
from loradrift.progress import QUIET_S, Tenths
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
    device, reduced = next(backbone.parameters()).device, config.trainer.precision == "bf16-mixed"
    with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
        scores_NC = answer_log_likelihoods(backbone, prompts, pad_id=pad_id, batch_size=size)
    return scores_NC.softmax(1)


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
    shared = min(shared, *(len(each) - 1 for each in ids))  # of "no" and "no way" all is shared
    surplus = max(map(len, ids)) + len(bos) - max_length
    cut = min(max(0, surplus), shared - 1)
    return Answered([bos + each[cut:] for each in ids], len(bos) + shared - cut)


class Reading(NamedTuple):
    """Tokens that the model reads in one pass, and the answers whose likelihood it gives."""

    prompt: int
    ids: Sequence[int]
    start: int
    answers: Mapping[int, Sequence[int]]
    """Number of an answer -> its tokens, which begin at ``start``."""


def readings(prompts: Sequence[Answered]) -> list[Reading]:
    """What has to be read for all answers, the longest first, so that little is padded.

    The last token of an answer is foretold and never read, and what one answer's pass reads need
    not be read for another: where no answer has two tokens, that is each prompt once.
    """
    found = []
    for number, (ids, start) in enumerate(prompts):
        passes: dict[tuple[int, ...], dict[int, Sequence[int]]] = {}
        for answer in sorted(range(len(ids)), key=lambda answer: -len(ids[answer])):
            read = tuple(ids[answer][:-1])
            longer = next((each for each in passes if each[: len(read)] == read), read)
            passes.setdefault(longer, {})[answer] = ids[answer][start:]
        found += [Reading(number, read, start, answers) for read, answers in passes.items()]
    return sorted(found, key=lambda reading: -len(reading.ids))


@torch.inference_mode()
def answer_log_likelihoods(
    backbone: Backbone, prompts: Sequence[Answered], *, pad_id: int, batch_size: int
) -> Tensor:
    """Log-likelihood (prompts, answers) of each answer, in nats, summed over its tokens.

    The prompts have equally many answers, and the backbone is in eval mode.
    """
    scores_NC = torch.zeros(len(prompts), len(prompts[0].ids))
    left = readings(prompts)
    tenths = Tenths("zero_shot: prompt", len(left), quiet_s=QUIET_S)
    for first in range(0, len(left), batch_size):
        batch = left[first : first + batch_size]
        scores = iter(_score(backbone, batch, pad_id))
        for reading in batch:
            for answer, tokens in reading.answers.items():
                scores_NC[reading.prompt, answer] = sum(islice(scores, len(tokens)))
        tenths.reach(first + len(batch))
    return scores_NC


def _score(backbone: Backbone, batch: Sequence[Reading], pad_id: int) -> list[float]:
    """Log-likelihood of each token of each answer, in their order."""
    device = next(backbone.parameters()).device
    width = max(len(each.ids) for each in batch)
    ids_BT = torch.tensor([[*each.ids] + [pad_id] * (width - len(each.ids)) for each in batch])
    # the states that foretell an answer's token, each once however many answers it is for
    places = [
        (row, t) for row, each in enumerate(batch) for t in range(each.start - 1, len(each.ids))
    ]
    number = {place: index for index, place in enumerate(places)}
    wanted = [
        (number[row, each.start - 1 + offset], token)
        for row, each in enumerate(batch)
        for tokens in each.answers.values()
        for offset, token in enumerate(tokens)
    ]
    rows_P, places_P = torch.tensor(places, device=device).T
    hidden_PD = backbone.encode(ids_BT.to(device))[rows_P, places_P]
    logits_PV = backbone.next_token_logits(hidden_PD)
    states, tokens = torch.tensor(wanted, device=device).T
    scores: list[float] = logits_PV.float().log_softmax(-1)[states, tokens].tolist()
    return scores
