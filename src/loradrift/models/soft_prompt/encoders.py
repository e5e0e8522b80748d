"""From a context's token embeddings to its latents, before they are quantised.

All embeddings are in units of the embedding table's RMS. A trained encoder starts where ``pca``
is, so that what it learns is an improvement on that.
"""

# Shape suffixes: B rows, C context tokens, M latents, Z numbers of a latent, D width of the
# embeddings, W width inside, Q = M + C.

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDEST = 256
"""Most numbers in a state of the encoder ``queries``: it reads every token of a context, and must
cost little beside a language model that reads a few vectors."""

HEAD_WIDTH = 32
"""Width of an attention head, where the width is divisible by it."""


class Context(NamedTuple):
    """A batch's contexts as an encoder takes them."""

    embeds_BCD: Tensor
    """Of the contexts' tokens alone, padded on the right."""

    mask_BC: Tensor
    """True for real tokens."""

    means_BMD: Tensor
    """Of M equal chunks."""


class Principal(NamedTuple):
    """The principal components of chunk means."""

    mean_D: Tensor
    basis_ZD: Tensor
    spread_Z: Tensor
    """Standard deviation along each component."""


class PcaEncoder(nn.Module):
    """Coordinates of the chunk means along their principal components; nothing of it trains."""

    mean_D: Tensor
    basis_ZD: Tensor
    fixed = True

    def __init__(self, width: int, d_z: int) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(width))
        self.register_buffer("basis_ZD", torch.zeros(d_z, width))

    def start(self, principal: Principal) -> tuple[Tensor, Tensor]:
        """Take the components; give the map (D, Z), and what it lacks (D,), back to the means."""
        self.mean_D.copy_(principal.mean_D)
        self.basis_ZD.copy_(principal.basis_ZD)
        return principal.basis_ZD.T, principal.mean_D

    def forward(self, context: Context) -> Tensor:
        """Latents (B, M, Z)."""
        means_BMD = context.means_BMD
        with torch.autocast(means_BMD.device.type, enabled=False):  # latents may have more bits
            latents_BMZ: Tensor = (means_BMD - self.mean_D) @ self.basis_ZD.T
        return latents_BMZ


class MeansEncoder(nn.Module):
    """The chunk means themselves."""

    fixed = True

    def start(self, principal: Principal) -> tuple[Tensor, Tensor]:
        """Nothing to take; the map back is the identity."""
        width = len(principal.mean_D)
        return torch.eye(width), torch.zeros(width)

    def forward(self, context: Context) -> Tensor:
        """Latents (B, M, D)."""
        return context.means_BMD


class MeanPoolEncoder(nn.Module):
    """A trained linear map of each chunk's mean, bounded by tanh."""

    fixed = False

    def __init__(self, width: int, d_z: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, d_z)

    def start(self, principal: Principal) -> tuple[Tensor, Tensor]:
        """Begin with the principal components; give the map back."""
        return start_at(self.down, principal)

    def forward(self, context: Context) -> Tensor:
        """Latents (B, M, Z)."""
        return torch.tanh(self.down(context.means_BMD))


@torch.no_grad()
def start_at(down: nn.Linear, principal: Principal) -> tuple[Tensor, Tensor]:
    """Set a linear map to the principal components, so scaled that tanh is nearly linear there."""
    room_Z = 2 * principal.spread_Z.clamp_min(1e-6)
    down.weight.copy_(principal.basis_ZD / room_Z[:, None])
    down.bias.copy_(-(principal.basis_ZD @ principal.mean_D) / room_Z)
    return principal.basis_ZD.T * room_Z, principal.mean_D


class QueriesEncoder(nn.Module):
    """A small bidirectional transformer in which M latent queries read the context's tokens.

    Queries and tokens attend to all of both. A query begins with what is learned for it and with
    its chunk's mean, and stands in the middle of its chunk. What it has found is added to the
    linear map of that mean, before tanh.
    """

    fixed = False

    def __init__(self, width: int, d_z: int, num_latents: int, num_layers: int) -> None:
        super().__init__()
        inside = min(width, WIDEST)
        heads = inside // HEAD_WIDTH if inside % HEAD_WIDTH == 0 else 1
        self.inside = inside
        self.queries_MW = nn.Parameter(torch.randn(num_latents, inside) * 0.02)
        self.take_in = nn.Linear(width, inside)
        self.blocks = nn.ModuleList(Block(inside, heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(inside)
        self.out = nn.Linear(inside, d_z)
        self.down = nn.Linear(width, d_z)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def start(self, principal: Principal) -> tuple[Tensor, Tensor]:
        """Begin with the principal components; give the map back."""
        return start_at(self.down, principal)

    def forward(self, context: Context) -> Tensor:
        """Latents (B, M, Z)."""
        rows, num_latents = context.means_BMD.shape[:2]
        sizes_B = context.mask_BC.sum(1)
        places_C = torch.arange(context.mask_BC.shape[1], device=sizes_B.device)
        centres_M = (torch.arange(num_latents, device=sizes_B.device) + 0.5) / num_latents
        centres_BM = sizes_B[:, None] * centres_M - 0.5
        queries_BMW = self.queries_MW + self.take_in(context.means_BMD)
        queries_BMW = queries_BMW + waves(centres_BM, self.inside)
        tokens_BCW = self.take_in(context.embeds_BCD) + waves(places_C.float(), self.inside)
        x_BQW = torch.cat([queries_BMW, tokens_BCW], dim=1)
        seen_BM = context.mask_BC.new_ones(rows, num_latents)
        seen_BQ = torch.cat([seen_BM, context.mask_BC], dim=1)
        for block in self.blocks:
            x_BQW = block(x_BQW, seen_BQ)
        found_BMZ = self.out(self.norm(x_BQW[:, :num_latents]))
        return torch.tanh(self.down(context.means_BMD) + found_BMZ)


class Block(nn.Module):
    """Attention to everything that is seen, then an MLP, each on normalised states."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q_proj, self.v_proj, self.o_proj = (nn.Linear(width, width) for _ in range(3))
        self.k_proj = nn.Linear(width, width, bias=False)  # a bias would change no attention
        self.up_proj, self.down_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BQW: Tensor, seen_BQ: Tensor) -> Tensor:
        """The states after this block."""
        normed_BQW = self.attention_norm(x_BQW)
        q, k, v = (
            project(normed_BQW).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen_BQ[:, None, None, :])
        x_BQW = x_BQW + self.o_proj(mixed.transpose(1, 2).flatten(2))
        normed_BQW = self.mlp_norm(x_BQW)
        added_BQW: Tensor = self.down_proj(F.gelu(self.up_proj(normed_BQW)))
        return x_BQW + added_BQW


def waves(places: Tensor, width: int) -> Tensor:
    """Sines and cosines (…, width) of places (Vaswani et al. 2017, section 3.5)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=places.device) * (-math.log(10_000.0) / half))
    angles = places[..., None].float() * rates
    found = torch.cat([angles.sin(), angles.cos()], dim=-1)
    return F.pad(found, (0, width - 2 * half))
