"""What an engine's classifiers say, held against PEFT in fp32 and against what the runs said."""

# Shape suffixes: N rows, C classes.

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loradrift.serving.export_servable import Servable

LOGIT_GAP = {"float32": 2e-5, "bfloat16": 0.5}
"""Largest difference of logits from fp32 PEFT's, relative to the largest logit where that is above
1: the order of sums, or bfloat16's eight bits through all layers."""

MARGIN = {"float32": 1e-3, "bfloat16": 0.5}
"""A label may differ where its logit is no further below the best one: by the engine's precision,
or the one that the run itself was evaluated in."""

NEAR = 0.05
"""Logits of a bfloat16 engine that are this near to the right ones, relative to the largest, are
right; those that are further off must be nearer to them than to what another model says."""


class Asked(NamedTuple):
    """What one run's classifier is asked."""

    rows: list["Row"]
    margin: float
    """:data:`MARGIN` of the run's own precision or the engine's, whichever is larger."""


class Row(NamedTuple):
    """An evaluated row of a run."""

    id: str
    tokens: tuple[int, ...]
    prediction: int
    """The label that the run chose."""


@dataclass
class Classified:
    """One task's rows, and how the engine's answers compare."""

    task: str | None
    label: str
    num_labels: int
    rows: int = 0
    equal_labels: int = 0
    """Rows with the label that the run predicted."""

    ties: int = 0
    """Rows with another one, where both logits are as good as equal."""

    wrong: list[dict[str, Any]] = field(default_factory=list)
    """The others."""

    not_finite: list[str] = field(default_factory=list)
    """Ids of rows with a logit that is no number."""

    swapped: list[str] = field(default_factory=list)
    """Ids of rows whose logits are nearer to another adapter's, or to those without one."""

    largest_difference: float = 0.0
    """Of a logit, from fp32 PEFT's."""

    largest_logit: float = 0.0


class Right(NamedTuple):
    """What a row's logits should be, and what they must not be."""

    own_C: Tensor
    rivals: list[Tensor]
    """Of shape (C,): of other models with as many labels, and without the adapter."""


def right_logits(
    heads: Sequence[Servable], asked: Mapping[str, Asked], *, rivals: bool
) -> dict[str, list[Right]]:
    """PEFT's logits of every row in fp32; one model is open at a time."""
    from loradrift.serving.export_check import class_logits, open_classifier_in_peft

    own: dict[str, list[Tensor]] = {}
    other: dict[str, list[list[Tensor]]] = {n: [[] for _ in a.rows] for n, a in asked.items()}
    labels = {each.name: each.num_labels for each in heads}
    for each in heads:
        model = open_classifier_in_peft(each)

        def says(name: str, model: nn.Module = model) -> list[Tensor]:
            rows = asked[name].rows
            return [class_logits(model, torch.tensor([row.tokens]))[0] for row in rows]

        own[each.name] = says(each.name)
        if not rivals:
            continue
        for name in asked:
            if name != each.name and labels[name] == labels[each.name]:
                _append(other[name], says(name))
        with without_adapter(model):
            _append(other[each.name], says(each.name))
    return {name: list(map(Right, own[name], other[name])) for name in asked}


def _append(lists: Sequence[list[Tensor]], values: Sequence[Tensor]) -> None:
    for each, value in zip(lists, values, strict=True):
        each.append(value)


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[None]:
    """The base with the adapter's head."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [each for each in model.modules() if isinstance(each, BaseTunerLayer)]
    try:
        for each in layers:
            each.enable_adapters(False)
        yield
    finally:
        for each in layers:
            each.enable_adapters(True)


def compare(
    servable: Servable,
    asked: Asked,
    logits_NC: Sequence[Sequence[float]],
    right_N: Sequence[Right],
) -> Classified:
    """How the engine's logits of a task's rows compare."""
    assert servable.num_labels is not None
    found = Classified(servable.task, servable.label, servable.num_labels, len(asked.rows))
    for row, values, right in zip(asked.rows, logits_NC, right_N, strict=True):
        got_C = torch.tensor(values, dtype=torch.float64)
        if not got_C.isfinite().all():
            found.not_finite.append(row.id)
            continue
        difference, largest = _distance(got_C, right.own_C), float(right.own_C.abs().max())
        found.largest_difference = max(found.largest_difference, difference)
        found.largest_logit = max(found.largest_logit, largest)
        nearest = min((_distance(got_C, each) for each in right.rivals), default=math.inf)
        if difference > NEAR * max(1.0, largest) and difference > nearest:
            found.swapped.append(row.id)
        label = int(got_C.argmax())
        margin = float(got_C.max() - got_C[row.prediction])
        if label == row.prediction:
            found.equal_labels += 1
        elif margin <= asked.margin:
            found.ties += 1
        else:
            wrong = {"id": row.id, "got": label, "predicted": row.prediction, "margin": margin}
            found.wrong.append(wrong)
    return found


def _distance(a_C: Tensor, b_C: Tensor) -> float:
    return float((a_C - b_C).abs().max())


def problem_of(name: str, found: Classified, dtype: str) -> str | None:
    """What is wrong with a task's answers, in one line."""
    if found.not_finite:
        count, first_id = len(found.not_finite), found.not_finite[0]
        return (
            f"{name}: vLLM gives {count} of {found.rows} rows logits that are not finite, "
            f"row {first_id} first"
        )
    if found.wrong:
        first = found.wrong[0]
        return (
            f"{name}: vLLM classifies {len(found.wrong)} of {found.rows} rows otherwise than the "
            f"run did, row {first['id']} as {first['got']} and not as {first['predicted']}, by "
            f"{first['margin']:.2g}"
        )
    if found.swapped:
        return (
            f"{name}: vLLM's logits of {len(found.swapped)} of {found.rows} rows are nearer to "
            f"those of another adapter or of none than to the run's, row {found.swapped[0]} first"
        )
    bound = LOGIT_GAP[dtype] * max(1.0, found.largest_logit)
    if not found.largest_difference <= bound:
        return (
            f"{name}: a logit of vLLM in {dtype} differs by {found.largest_difference:.2g} from "
            f"PEFT's in fp32, more than {bound:.2g}"
        )
    return None
