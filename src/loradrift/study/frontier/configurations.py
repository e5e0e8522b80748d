"""What a frontier compares, and at which learning rates."""

from typing import NamedTuple

from loradrift.config import ScaleConfig

FROZEN = "head_only"
"""The control: its backbone is frozen and does not drift."""


class Configuration(NamedTuple):
    """A method, with the rank of its adapter if it has one."""

    method: str
    rate: str
    """Which key of ``scale`` is its own learning rate."""

    rank: int | None = None

    @property
    def name(self) -> str:
        """``lora_r8``, ``full_finetune``.

        >>> Configuration("lora", "adapter_lr", 8).name
        'lora_r8'
        """
        return self.method if self.rank is None else f"{self.method}_r{self.rank}"

    def rate_of(self, scale: ScaleConfig, factor: float) -> float:
        """The learning rate of a factor."""
        base: float = getattr(scale, self.rate)
        return float(f"{base * factor:.6g}")

    def typed(self, scale: ScaleConfig, factor: float) -> list[str]:
        """The overrides of its run at one rate; alpha / rank is the scale's at every rank.

        >>> Configuration("lora", "adapter_lr", 64).typed(ScaleConfig(name="x"), 10)
        ['method=lora', 'method.rank=64', 'method.alpha=128', 'method.optim.lr=0.002']
        """
        own = []
        if self.rank is not None:
            alpha = self.rank * scale.adapter_alpha / scale.adapter_rank
            own = [f"method.rank={self.rank}", f"method.alpha={alpha:g}"]
        return [f"method={self.method}", *own, f"method.optim.lr={self.rate_of(scale, factor)}"]


CONFIGURATIONS = {
    each.name: each
    for each in (
        Configuration("full_finetune", "full_finetune_lr"),
        Configuration("lora", "adapter_lr", 1),
        Configuration("lora", "adapter_lr", 8),
        Configuration("lora", "adapter_lr", 64),
        Configuration("dora", "adapter_lr", 8),
        Configuration(FROZEN, "head_lr"),
    )
}
"""Name -> configuration, in the order of listings."""
