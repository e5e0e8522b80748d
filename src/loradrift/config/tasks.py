"""What is learned."""

from dataclasses import dataclass

from omegaconf import MISSING

from loradrift.config.errors import UserError, require


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
        require(self.max_length > 1, "task.max_length", "at least 2", self.max_length)
        require(self.batch_size > 0, "task.batch_size", "positive", self.batch_size)
        if self.epochs is None and self.max_steps is None:
            raise UserError("task.epochs and task.max_steps are both null: training has no end")
        require(self.epochs is None or self.epochs > 0, "task.epochs", "positive", self.epochs)
        require(
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
        require(self.name in names, "task.name", "one of " + ", ".join(names), self.name)
        require(self.metric in ("accuracy", "f1"), "task.metric", "accuracy or f1", self.metric)
        bound = self.min_train_accuracy
        require(bound is None or 0 < bound <= 1, "task.min_train_accuracy", "in (0, 1]", bound)


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
        require(self.name == "pretrain", "task.name", "pretrain", self.name)
        require(self.metric == "loss", "task.metric", "loss for task=pretrain", self.metric)
        require(
            self.min_train_accuracy is None,
            "task.min_train_accuracy",
            "null for task=pretrain, which has no accuracy",
            self.min_train_accuracy,
        )
