"""What a soft prompt takes from training rows before it is trained: components, grid and scales."""

# Shape suffixes: N chunk means, M latents, Z numbers of a latent, D width.

from collections.abc import Iterable

import torch
from torch import Tensor

from loradrift.models.soft_prompt.encoders import Context, Principal
from loradrift.models.soft_prompt.head import SoftPromptHead

OUTSIDE = 1e-3
"""Share of the training rows' latents below a fixed encoder's grid, and above it."""

SCALE_BATCHES = 4
"""Most batches on which the soft prompt's scale is fitted: it is one number."""


@torch.no_grad()
def fit_head(head: SoftPromptHead, contexts: Iterable[Context]) -> None:
    """Set what is fitted once, in place: the same for all methods and seeds but for new weights.

    Args:
        head: Has its ``embedding_rms``.
        contexts: Of training rows (:meth:`SoftPromptHead.context`).
    """
    seen = list(contexts)
    means_ND = torch.cat([each.means_BMD.flatten(0, 1) for each in seen])
    head.target_scale.copy_(1 / rms(means_ND))
    d_z = head.sizes.d_z
    principal = Principal(torch.zeros(head.width), torch.zeros(0), torch.zeros(0))
    if d_z is not None:
        principal = principal_components(means_ND, d_z)
    back_DZ, offset_D = head.encoder.start(principal)
    head.adapter.skip.weight.copy_(back_DZ)
    head.adapter.skip.bias.copy_(offset_D)
    if head.encoder.fixed:
        raw_NZ = torch.cat([head.encoder(each).flatten(0, 1) for each in seen])
        low_Z, high_Z = bounds(raw_NZ)
        head.grid.low_Z.copy_(low_Z)
        head.grid.high_Z.copy_(high_Z)
    head.adapter.scale.fill_(1)
    spread = seen[:: -(-len(seen) // SCALE_BATCHES)]  # an encoder that reads all tokens takes time
    soft_ND = torch.cat([head.decode(head.latents(each)).flatten(0, 1) for each in spread])
    head.adapter.scale.copy_(head.embedding_rms / rms(soft_ND))


def principal_components(means_ND: Tensor, d_z: int) -> Principal:
    """The first ``d_z`` components, each with its largest number positive."""
    x_ND = means_ND.double()
    mean_D = x_ND.mean(0)
    centred_ND = x_ND - mean_D
    variances, vectors_DD = torch.linalg.eigh(centred_ND.T @ centred_ND / len(x_ND))
    basis_ZD = vectors_DD[:, -d_z:].flip(1).T
    largest_Z1 = basis_ZD.abs().argmax(dim=1, keepdim=True)
    basis_ZD = basis_ZD * basis_ZD.gather(1, largest_Z1).sign()
    spread_Z = variances[-d_z:].flip(0).clamp_min(0).sqrt()
    return Principal(mean_D.float(), basis_ZD.float(), spread_Z.float())


def bounds(raw_NZ: Tensor) -> tuple[Tensor, Tensor]:
    """Where each number's grid begins and ends: far ends of the training rows are cut off."""
    kept = max(1, round(OUTSIDE * len(raw_NZ)))
    sorted_NZ = raw_NZ.sort(dim=0).values
    low_Z, high_Z = sorted_NZ[kept - 1], sorted_NZ[-kept]
    # a number that never varies needs a grid too
    return low_Z, torch.maximum(high_Z, low_Z + 1e-6)


def rms(x: Tensor) -> Tensor:
    """Root of the mean square of all numbers."""
    return x.double().square().mean().sqrt()
