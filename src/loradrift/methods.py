"""How a backbone is made trainable: one entry a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from loradrift.config.methods import (
    METHODS,
    FromScratchConfig,
    FullFinetuneConfig,
    HeadOnlyConfig,
    LoraConfig,
    MethodConfig,
    MethodFacts,
    add_method,
)

if TYPE_CHECKING:  # a method is registered before the command line is read: nothing heavy by then
    from loradrift.models import Backbone


@dataclass(frozen=True, kw_only=True)
class MethodSpec(MethodFacts):
    """Everything about a method that trains."""

    apply: Callable[[Backbone, Any, int], None]
    """Backbone, settings and the seed of new weights: sets which parameters train, in place."""


def register(spec: MethodSpec) -> None:
    """Make a method known, so that ``method=<name>`` can be typed; refuse a name that is taken."""
    add_method(spec)


def make_trainable(backbone: Backbone, method: MethodConfig, *, seed: int) -> None:
    """Set which parameters of an fp32 backbone train, in place; ``seed`` draws new weights.

    Raises:
        UserError: If an adapter's target modules match nothing.
    """
    cast(MethodSpec, METHODS[method.name]).apply(backbone, method, seed)


def _train_all(backbone: Backbone, method: MethodConfig, seed: int) -> None:
    backbone.requires_grad_(True)


def _freeze(backbone: Backbone, method: MethodConfig, seed: int) -> None:
    backbone.requires_grad_(False)


def _add_lora(backbone: Backbone, method: LoraConfig, seed: int) -> None:
    from loradrift.models.lora import add_lora

    add_lora(backbone, method, seed=seed)


register(MethodSpec(name="full_finetune", config=FullFinetuneConfig, apply=_train_all))
for _name in ("lora", "rslora", "dora", "pissa"):
    register(MethodSpec(name=_name, config=LoraConfig, apply=_add_lora))
register(MethodSpec(name="head_only", config=HeadOnlyConfig, apply=_freeze))
register(MethodSpec(name="from_scratch", config=FromScratchConfig, apply=_train_all))
