"""A context's token embeddings in equal chunks, and their means."""

# Shape suffixes: B rows, T tokens, M chunks, D width.

import torch
import torch.nn.functional as F
from torch import Tensor


def chunk_bounds(sizes_B: Tensor, num_chunks: int) -> tuple[Tensor, Tensor]:
    """First token of each chunk, and the one behind its last, both (B, M).

    Sizes differ by at most one. A context of fewer tokens than chunks repeats tokens, so that every
    chunk has one.

    >>> chunk_bounds(torch.tensor([5, 2]), 3)
    (tensor([[0, 1, 3],
            [0, 0, 1]]), tensor([[1, 3, 5],
            [1, 1, 2]]))
    """
    edges_E = torch.arange(num_chunks + 1, device=sizes_B.device)
    edges_BE = sizes_B[:, None] * edges_E // num_chunks
    begin_BM = edges_BE[:, :-1]
    return begin_BM, torch.maximum(edges_BE[:, 1:], begin_BM + 1)


def chunk_means(embeds_BTD: Tensor, start_B: Tensor, end_B: Tensor, num_chunks: int) -> Tensor:
    """Means (B, M, D) of the chunks of each row's tokens from ``start_B`` to ``end_B``.

    Nothing else of a row is read, neither its other tokens nor its padding.
    """
    begin_BM, behind_BM = chunk_bounds(end_B - start_B, num_chunks)
    rows, length, width = embeds_BTD.shape
    first_B = start_B + length * torch.arange(rows, device=start_B.device)
    first_N = (first_B[:, None] + begin_BM).flatten()
    sizes_N = (behind_BM - begin_BM).flatten()
    offsets_N = sizes_N.cumsum(0) - sizes_N
    total = int(sizes_N.sum())
    steps = torch.arange(total, device=start_B.device)
    places = torch.repeat_interleave(first_N - offsets_N, sizes_N, output_size=total) + steps
    means_ND = F.embedding_bag(places, embeds_BTD.reshape(-1, width), offsets_N, mode="mean")
    return means_ND.view(rows, num_chunks, width)
