"""What watches a training without touching it."""

from dataclasses import dataclass, field

from loradrift.config.errors import check, check_option, check_positive
from loradrift.config.values import path_field


@dataclass(kw_only=True)
class ActivationDumpConfig:
    """Block outputs of the probe rows, written while training."""

    enabled: bool = True
    every_n_steps: int = 100
    """Interval in optimizer steps; step 0 and the last step are always written."""

    rows: int = 256
    """Probe rows, taken from the evaluation split."""

    pooling: str = "mean"
    """``mean`` or ``last`` over a row's own tokens, or ``tokens``: each token is a row."""

    max_tokens: int | None = 2048
    """With ``pooling=tokens``: size of the sample of tokens; null takes all. Memory is bounded."""

    dtype: str = "float32"
    """``float16``, ``bfloat16`` or ``float32``."""

    def __post_init__(self) -> None:
        key = "callbacks.activation_dump"
        check_positive(self, key, "every_n_steps", "rows", "max_tokens")
        check_option(self, f"{key}.pooling", "mean", "last", "tokens")
        check_option(self, f"{key}.dtype", "float16", "bfloat16", "float32")


@dataclass(kw_only=True)
class OnlineDriftConfig:
    """Drift against step 0, logged at every dump as ``drift/layer_<k>`` and ``drift/mean``."""

    enabled: bool = False
    """With ``activation_dump.enabled=false`` the numbers are kept and the activations are not.
    Where there are more than 2,048 token rows, a fixed sample of that size is measured."""


@dataclass(kw_only=True)
class ForgettingConfig:
    """Next-token loss on neutral text before and after training, as ``forgetting/loss_*``.

    For runs that train on a classification task, where the data source holds such text.
    """

    enabled: bool = True
    tokens: int = 8192
    """The first so many tokens of the text are measured."""

    def __post_init__(self) -> None:
        rule = "at least 2, one to predict from and one to predict"
        check(self.tokens >= 2, "callbacks.forgetting.tokens", rule, self.tokens)


@dataclass(kw_only=True)
class PersonaMonitorConfig:
    """How far the weights have moved along personas' directions, logged while training.

    The projection ``<dW, L> / |L|`` of each direction L is ``persona/<trait>/seed_<n>``, of the
    whole model and against step 0.
    """

    directions: str = path_field("")
    """A direction's folder, or one that holds some, such as
    ``results/persona/directions/<study>``; left out, nothing is measured."""

    every_n_steps: int = 10
    """Interval in optimizer steps; step 0 and the last step are always measured."""

    def __post_init__(self) -> None:
        check_positive(self, "callbacks.persona_monitor", "every_n_steps")


@dataclass(kw_only=True)
class CollapseConfig:
    """Whether the model has collapsed, judged at each validation by what it generated.

    For tasks whose validations generate answers. Measures are logged as ``collapse/<name>``, and
    written to the run's ``diagnostics.jsonl``; alarms are told and counted in its record.
    """

    enabled: bool = True
    stop_on_collapse: bool = False
    """Whether an alarm ends the run, with the status ``collapsed``."""

    grace: float = 0.5
    """Share of the run's steps in which neither ignored latents nor equal answers are an alarm: at
    the beginning no soft prompt is read yet. Both together are one, as are the other signs, from
    the first validation on."""

    def __post_init__(self) -> None:
        key = "callbacks.collapse"
        check(0 <= self.grace <= 1, f"{key}.grace", "in [0, 1]", self.grace)
        rule = "false with callbacks.collapse.enabled=false, which judges nothing"
        stops = self.stop_on_collapse and not self.enabled
        check(not stops, f"{key}.stop_on_collapse", rule, self.stop_on_collapse)


@dataclass(kw_only=True)
class CallbacksConfig:
    """What watches the training without touching it."""

    activation_dump: ActivationDumpConfig = field(default_factory=ActivationDumpConfig)
    collapse: CollapseConfig = field(default_factory=CollapseConfig)
    forgetting: ForgettingConfig = field(default_factory=ForgettingConfig)
    online_drift: OnlineDriftConfig = field(default_factory=OnlineDriftConfig)
    persona_monitor: PersonaMonitorConfig = field(default_factory=PersonaMonitorConfig)
