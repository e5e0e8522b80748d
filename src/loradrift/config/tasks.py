"""What is learned."""

from dataclasses import dataclass

from omegaconf import MISSING

from loradrift.config.errors import UserError, check


@dataclass(kw_only=True)
class TaskConfig:
    """What is learned, and for how long."""

    name: str = MISSING
    max_length: int = 128
    """Tokens per row; longer rows are cut."""

    batch_size: int = 32
    """Rows per device and micro-batch."""

    epochs: float | None = None
    """Passes over the training rows; with ``max_steps`` too, whichever ends first."""

    max_steps: int | None = None
    """Optimizer steps."""

    metric: str = MISSING
    """Decides which checkpoint is best; measured on the validation rows."""

    min_train_accuracy: float | None = None
    """A sanity check: the run fails if accuracy on its own training rows ends below this."""

    def __post_init__(self) -> None:
        check(self.max_length > 1, "task.max_length", "at least 2", self.max_length)
        check(self.batch_size > 0, "task.batch_size", "positive", self.batch_size)
        if self.epochs is None and self.max_steps is None:
            raise UserError("task.epochs and task.max_steps are both null: training has no end")
        check(self.epochs is None or self.epochs > 0, "task.epochs", "positive", self.epochs)
        check(
            self.max_steps is None or self.max_steps > 0,
            "task.max_steps",
            "positive",
            self.max_steps,
        )


@dataclass(kw_only=True)
class GlueConfig(TaskConfig):
    """A sentence or sentence pair and one of two labels."""

    metric: str = "accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("sst2", "mrpc", "rte")
        check(self.name in names, "task.name", "one of " + ", ".join(names), self.name)
        check(self.metric in ("accuracy", "f1"), "task.metric", "accuracy or f1", self.metric)
        bound = self.min_train_accuracy
        check(bound is None or 0 < bound <= 1, "task.min_train_accuracy", "in (0, 1]", bound)


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
    """Of the answerability head's loss, beside 1 for the span's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.name == "squad_v2", "task.name", "squad_v2", self.name)
        check(self.metric in ("f1", "exact"), "task.metric", "f1 or exact", self.metric)
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
            raise UserError(
                "task.answerability_weight has no effect on task.answerability=null_span"
            )
        bound = self.min_train_accuracy
        check(bound is None or 0 < bound <= 1, "task.min_train_accuracy", "in (0, 1]", bound)


@dataclass(kw_only=True)
class PretrainConfig(TaskConfig):
    """Next-token prediction on plain text, in rows of at most ``max_length`` tokens."""

    name: str = "pretrain"
    max_length: int = 128
    batch_size: int = 32
    max_steps: int | None = 900
    metric: str = "loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.name == "pretrain", "task.name", "pretrain", self.name)
        check(self.metric == "loss", "task.metric", "loss for task=pretrain", self.metric)
        check(
            self.min_train_accuracy is None,
            "task.min_train_accuracy",
            "null for task=pretrain, which has no accuracy",
            self.min_train_accuracy,
        )
