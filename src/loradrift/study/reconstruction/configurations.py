"""The configurations that the sweep compares, and what they are on a model of another depth."""

from typing import NamedTuple

LLAMA_BLOCKS = 32
"""Blocks of the model whose layer counts the configurations name."""

BASELINE = "none"


class Configuration(NamedTuple):
    """A LoRA on the language model; or none, where the head alone is trained."""

    rank: int = 0
    """0 is no LoRA."""

    alpha: int = 0
    blocks: int | None = None
    """The first so many of Llama's 32; None adapts all."""

    @property
    def name(self) -> str:
        """``r8_a16_l12``, with the number of Llama's blocks; ``none`` without LoRA.

        >>> Configuration(8, 16, 12).name, Configuration(8, 16).name, Configuration().name
        ('r8_a16_l12', 'r8_a16_all', 'none')
        """
        if not self.rank:
            return BASELINE
        return f"r{self.rank}_a{self.alpha}_{'all' if self.blocks is None else f'l{self.blocks}'}"

    def layers(self, depth: int) -> int | None:
        """The same share of a model's blocks, at least one; None for all.

        >>> [Configuration(8, 16, blocks).layers(30) for blocks in (8, 12, 16, None)]
        [8, 11, 15, None]
        """
        if self.blocks is None:
            return None
        return max(1, (2 * self.blocks * depth + LLAMA_BLOCKS) // (2 * LLAMA_BLOCKS))

    def typed(self, depth: int) -> list[str]:
        """The overrides of its run, on a model of so many blocks.

        >>> Configuration(8, 16, 12).typed(4)
        ['method=lora', 'method.rank=8', 'method.alpha=16', 'method.layers=2']
        """
        if not self.rank:
            return ["method=head_only"]
        layers = self.layers(depth)
        own = [] if layers is None else [f"method.layers={layers}"]
        return ["method=lora", f"method.rank={self.rank}", f"method.alpha={self.alpha}", *own]

    def adapted(self, depth: int) -> str:
        """What of a model of so many blocks it adapts, in words.

        >>> Configuration(8, 16, 12).adapted(4), Configuration(8, 16).adapted(4)
        ('2 of 4 blocks', 'all 4 blocks')
        """
        if not self.rank:
            return "no block"
        layers = self.layers(depth)
        return f"all {depth} blocks" if layers is None else f"{layers} of {depth} blocks"


CONFIGURATIONS = {
    each.name: each
    for each in (
        Configuration(),
        Configuration(4, 8, 8),
        Configuration(4, 16, 8),
        Configuration(8, 8, 12),
        Configuration(8, 16, 12),
        Configuration(8, 32, 12),
        Configuration(16, 16, 16),
        Configuration(16, 32, 16),
        Configuration(8, 16),
        Configuration(16, 32),
        Configuration(32, 32, 16),
    )
}
"""Name -> configuration, in the order of listings."""
