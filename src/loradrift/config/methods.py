"""How the backbone is made trainable: the settings, and the registry of methods."""

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from loradrift.config.errors import UserError, check, check_positive, one_of


@dataclass(kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and linear decay to zero."""

    lr: float = 1e-4
    """Peak learning rate."""

    head_lr: float | None = None
    """Peak learning rate of the task's new head; null is the same as ``lr``."""

    weight_decay: float = 0.01
    """Decoupled weight decay of the matrices; norms and biases have none."""

    warmup_ratio: float = 0.06
    """Fraction of the steps spent warming up."""

    def __post_init__(self) -> None:
        check_positive(self, "method.optim", "lr", "head_lr")
        decay, warmup = self.weight_decay, self.warmup_ratio
        check(decay >= 0, "method.optim.weight_decay", "at least 0", decay)
        check(0 <= warmup < 1, "method.optim.warmup_ratio", "in [0, 1)", warmup)


@dataclass(kw_only=True)
class MethodConfig:
    """How the backbone is made trainable."""

    name: str = MISSING

    def __post_init__(self) -> None:
        own = [name for name, facts in METHODS.items() if facts.config is type(self)]
        check(self.name in own, "method.name", one_of(own), self.name)


@dataclass(frozen=True, kw_only=True)
class MethodFacts:
    """What the configuration knows of a method; how it makes a model trainable is elsewhere."""

    name: str
    config: type[MethodConfig]


METHODS: dict[str, MethodFacts] = {}
"""Name -> method, in the order of registration (:func:`loradrift.methods.register`)."""


def store_option(group: str, name: str, schema: type, **values: object) -> None:
    """Make ``schema/<group>/<name>`` known to the files in ``conf/``, and ``<group>=<name>``.

    The second sets the name and ``values``; a file of that name in ``conf/`` takes its place.
    """
    store = ConfigStore.instance()
    # apart from the options, so that completion offers those alone
    store.store(group=f"schema/{group}", name=name, node=schema)
    option = OmegaConf.merge(OmegaConf.structured(schema), values | {"name": name})
    store.store(group=group, name=name, node=option)


def add_method(facts: MethodFacts) -> None:
    """Make a method known, so that ``method=<name>`` can be typed; refuse a name that is taken."""
    if facts.name in METHODS:
        raise UserError(f"method={facts.name} is registered twice")
    METHODS[facts.name] = facts
    store_option("method", facts.name, facts.config)


@dataclass(kw_only=True)
class BaselineConfig(MethodConfig):
    """Predict without training, in a way that the task knows."""


@dataclass(kw_only=True)
class TrainedConfig(MethodConfig):
    """A method with an optimizer."""

    optim: OptimConfig = field(default_factory=OptimConfig)


@dataclass(kw_only=True)
class FromScratchConfig(TrainedConfig):
    """Start from random weights and train all of them (``task=pretrain``)."""


@dataclass(kw_only=True)
class FullFinetuneConfig(TrainedConfig):
    """Start from pretrained weights and train all of them."""


@dataclass(kw_only=True)
class HeadOnlyConfig(TrainedConfig):
    """Freeze the backbone and train what the task puts on it."""


@dataclass(kw_only=True)
class LoraConfig(TrainedConfig):
    """Freeze the backbone and train rank-``r`` updates (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = 8
    alpha: float = 16.0
    """The update is scaled by ``alpha / rank`` (``alpha / sqrt(rank)`` with ``rslora``)."""

    dropout: float = 0.0
    target_modules: list[str] = field(default_factory=lambda: ["all-linear"])
    """Names of the adapted modules, or ``[all-linear]``."""

    layers: int | str = "all"
    """Adapt the first so many blocks alone; ``all`` adapts whatever ``target_modules`` names."""

    rslora: bool = False
    """Rank-stabilised scaling (Kalajdzievski 2023, arXiv:2312.03732)."""

    dora: bool = False
    """Train magnitude and direction apart (Liu et al. 2024, arXiv:2402.09353)."""

    init: str = "default"
    """``default`` (B = 0), ``gaussian``, or ``pissa`` (Meng et al. 2024, arXiv:2404.02948)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "method", "rank", "alpha")
        check(0 <= self.dropout < 1, "method.dropout", "in [0, 1)", self.dropout)
        layers = self.layers
        counted = isinstance(layers, int) and not isinstance(layers, bool) and layers > 0
        check(counted or layers == "all", "method.layers", "all, or a positive number", layers)
        inits = ("default", "gaussian", "pissa")
        check(self.init in inits, "method.init", one_of(inits), self.init)
        if self.init == "pissa" and self.dora:
            raise UserError(
                "method.init=pissa and method.dora=true do not go together: their export would "
                "lose DoRA's magnitudes"
            )
        if not self.target_modules:
            raise UserError("method.target_modules is empty: LoRA would train nothing")
