"""What is trained beside the language model: encoder, bottleneck and adapter."""

# Shape suffixes: B rows, T tokens, C context tokens, M latents, Z numbers of a latent, D width.

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loradrift.models.soft_prompt.chunks import chunk_means
from loradrift.models.soft_prompt.encoders import (
    Context,
    MeanPoolEncoder,
    MeansEncoder,
    PcaEncoder,
    QueriesEncoder,
)
from loradrift.models.soft_prompt.quantise import Grid, precise


@dataclass(frozen=True)
class SoftPromptSizes:
    """Which encoder, and how large its latents are."""

    encoder: str
    """``pca``, ``mean_pool`` or ``queries``."""

    num_latents: int
    """M."""

    d_z: int | None
    """Z; None keeps the chunk means whole."""

    latent_bits: int
    """Of each number."""

    encoder_layers: int = 2
    """Blocks of ``queries``."""

    def num_bytes(self, width: int) -> float:
        """What a context's latents take, where embeddings are ``width`` wide."""
        return self.num_latents * (self.d_z or width) * self.latent_bits / 8


class SoftPrompt(NamedTuple):
    """What a batch's contexts become."""

    soft_BMD: Tensor
    """The vectors that the language model reads in the contexts' place."""

    latents_BMZ: Tensor
    """Of values of the grid."""

    target_BMD: Tensor
    """What ``soft_BMD`` reconstructs: chunk means, all scaled by one number so that their RMS is
    the embeddings'."""


class Adapter(nn.Module):
    """From latents to soft prompt: ``scale * gain * (skip(z) + MLP(LayerNorm(z)))``.

    The scale is fitted once, so that the soft prompt's RMS begins as the embeddings'; the gain is
    learned from 1 on.
    """

    scale: Tensor

    def __init__(self, d_z: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_z)
        self.up, self.down = nn.Linear(d_z, width), nn.Linear(width, width)
        self.skip = nn.Linear(d_z, width)
        self.gain = nn.Parameter(torch.ones(()))
        self.register_buffer("scale", torch.ones(()))
        # at the start the skip decides, which inverts the encoder
        nn.init.normal_(self.down.weight, std=0.02 * width**-0.5)
        nn.init.zeros_(self.down.bias)

    def forward(self, z_BMZ: Tensor) -> Tensor:
        """Soft prompts (B, M, D)."""
        mlp_BMD = self.down(F.gelu(self.up(self.norm(z_BMZ))))
        return precise(self.skip(z_BMZ) + mlp_BMD) * (self.scale * self.gain)


class SoftPromptHead(nn.Module):
    """Token embeddings of a context to a soft prompt.

    It is of no use before :func:`~loradrift.models.soft_prompt.fit_head` has seen training rows.

    Args:
        width: D.
        sizes: Of the latents.
        seed: Draws the weights.
    """

    embedding_rms: Tensor
    target_scale: Tensor

    def __init__(self, width: int, sizes: SoftPromptSizes, *, seed: int) -> None:
        super().__init__()
        self.width, self.sizes = width, sizes
        self.frozen: str | None = None
        """Digest of the encoder's weights when LoRA was put on it."""

        d_z = sizes.d_z or width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = _encoder(width, sizes)
            self.adapter = Adapter(d_z, width)
        self.grid = Grid(d_z, sizes.latent_bits)
        self.register_buffer("embedding_rms", torch.ones(()))
        self.register_buffer("target_scale", torch.ones(()))

    def context(self, embeds_BTD: Tensor, start_B: Tensor, end_B: Tensor) -> Context:
        """The context's part of each row, in units of the embedding table's RMS."""
        embeds_BTD = precise(embeds_BTD.detach()) / self.embedding_rms
        sizes_B = end_B - start_B
        places_C = torch.arange(int(sizes_B.max()), device=sizes_B.device)
        mask_BC = places_C < sizes_B[:, None]
        index_BC = (start_B[:, None] + places_C).clamp(max=embeds_BTD.shape[1] - 1)
        index_BCD = index_BC[:, :, None].expand(-1, -1, self.width)
        embeds_BCD = embeds_BTD.gather(1, index_BCD) * mask_BC[:, :, None]
        means_BMD = chunk_means(embeds_BTD, start_B, end_B, self.sizes.num_latents)
        return Context(embeds_BCD, mask_BC, means_BMD)

    def latents(self, context: Context) -> Tensor:
        """Latents (B, M, Z), as they would be stored."""
        latents_BMZ: Tensor = self.grid(self.encoder(context))
        return latents_BMZ

    def decode(self, latents_BMZ: Tensor) -> Tensor:
        """The soft prompt (B, M, D) that stands for latents."""
        soft_BMD: Tensor = self.adapter(latents_BMZ)
        return soft_BMD

    def forward(self, embeds_BTD: Tensor, start_B: Tensor, end_B: Tensor) -> SoftPrompt:
        """Soft prompts of the tokens from ``start_B`` to ``end_B``, of embeddings as they are."""
        context = self.context(embeds_BTD, start_B, end_B)
        latents_BMZ = self.latents(context)
        target_BMD = context.means_BMD * (self.target_scale * self.embedding_rms)
        return SoftPrompt(self.decode(latents_BMZ), latents_BMZ, target_BMD)


def _encoder(width: int, sizes: SoftPromptSizes) -> Any:
    if sizes.d_z is None:
        return MeansEncoder()
    match sizes.encoder:
        case "pca":
            return PcaEncoder(width, sizes.d_z)
        case "mean_pool":
            return MeanPoolEncoder(width, sizes.d_z)
        case _:
            return QueriesEncoder(width, sizes.d_z, sizes.num_latents, sizes.encoder_layers)
