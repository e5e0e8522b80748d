"""``task=squad_v2``: which words of a paragraph answer a question, if any do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loradrift.config import Config, DataConfig, OptimConfig, TaskConfig, UserError, check
from loradrift.tasks.spec import Baseline, Encoding, Outcome, TaskSpec

if TYPE_CHECKING:
    from loradrift.data import Question, Splits
    from loradrift.models import Backbone
    from loradrift.tasks.base import Task
    from loradrift.tasks.prepared import PreparedData


@dataclass(kw_only=True)
class SquadConfig(TaskConfig):
    """Where in a paragraph a question is answered, or that it is not (SQuAD v2)."""

    metric: str = "f1"
    """``f1`` or ``exact``, with the null threshold that is best on the validation rows."""

    stride: int = 128
    """Tokens that two windows of one context have in common."""

    max_question: int = 64
    """Tokens of the question; a longer one is cut."""

    max_answer: int = 30
    """Tokens of an answer."""

    num_best: int = 20
    """Spans kept of each window."""

    answerability: str = "head"
    """``head``: a head on the last token says whether a window holds the answer. ``null_span``: the
    span on the first token stands for no answer, as in BERT; for comparison."""

    answerability_weight: float = 1.0
    """Weight of the answerability head's loss; the span's has weight 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.stride >= 0, "task.stride", "at least 0", self.stride)
        for name in ("max_question", "max_answer", "num_best"):
            check(getattr(self, name) > 0, f"task.{name}", "positive", getattr(self, name))
        room = self.max_length - min(self.max_question, self.max_length // 2) - 2
        rule = f"less than the {room} tokens that task.max_length={self.max_length} leaves"
        check(self.stride < room, "task.stride", rule, self.stride)
        kind, weight = self.answerability, self.answerability_weight
        check(kind in ("head", "null_span"), "task.answerability", "head or null_span", kind)
        check(weight > 0, "task.answerability_weight", "positive", weight)
        if kind == "null_span" and weight != 1.0:
            raise UserError("task.answerability_weight has no effect on task.answerability=" + kind)


def load(task: SquadConfig, data: DataConfig, cache: Path) -> Splits[Question]:
    """Questions on paragraphs."""
    from loradrift.data import load_squad

    return load_squad(data, cache)


def encode(task: SquadConfig, tokenizer: Any, cache: Path) -> Encoding:
    """Each question as overlapping windows of its paragraph."""
    from loradrift.data.squad_v2.encoding import WindowSizes
    from loradrift.data.squad_v2.windows import make_windows, windows_fingerprint

    sizes = WindowSizes(task.max_length, task.stride, task.max_question)
    windows = partial(make_windows, tokenizer=tokenizer, sizes=sizes, cache=cache)
    return Encoding(windows, windows_fingerprint(tokenizer, sizes))


def build(
    backbone: Backbone, task: SquadConfig, optim: OptimConfig, data: PreparedData, seed: int
) -> Task:
    """A head for start, end and, if asked for, answerability."""
    from loradrift.models import SpanModel
    from loradrift.tasks.squad_v2.module import QuestionAnsweringTask

    backbone.freeze_output_head()
    model = SpanModel(backbone, answerability=task.answerability == "head", seed=seed)
    return QuestionAnsweringTask(model, task, optim)


def predict(
    config: Config, data: PreparedData, questions: Sequence[Question], backbone: Backbone | None
) -> Outcome:
    """Predict as ``majority``, ``random`` or ``abstain`` does."""
    from loradrift.tasks.squad_v2.baselines import predict_answers

    return predict_answers(config.method.name, config.seed, data.splits.train, questions)


SPEC = TaskSpec(
    name="squad_v2",
    label="SQuAD v2",
    config=SquadConfig,
    metrics={"f1": True, "exact": True},
    load=load,
    encode=encode,
    build=build,
    baselines=dict.fromkeys(("majority", "random", "abstain"), Baseline(predict)),
)
