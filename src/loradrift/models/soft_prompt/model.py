"""A language model that reads a soft prompt in a context's place."""

# Shape suffixes: B rows, T tokens of the full text, C vectors in the context's place, L tokens and
# vectors of the joined rows, N answer tokens, M latents, D width, V vocabulary.

from typing import NamedTuple

import torch
from torch import Tensor, nn

from loradrift.models.backbone import Backbone
from loradrift.models.soft_prompt.head import SoftPrompt, SoftPromptHead, SoftPromptSizes
from loradrift.models.soft_prompt.prefix import encode_rows, shared_size

Batch = dict[str, Tensor]
"""With ``input_ids``, ``attention_mask``, ``context_start``, ``context_end``, ``answer_start``."""


class Joined(NamedTuple):
    """Rows in which vectors stand in the context's place, padded on the right."""

    embeds_BLD: Tensor
    lengths_B: Tensor
    answer_at_B: Tensor
    """Place of the answer's first token."""

    shared: int = 0
    """How many vectors all rows begin with alike, where it pays to read them once."""

    @property
    def mask_BL(self) -> Tensor:
        """True for what is no padding."""
        places_L = torch.arange(self.embeds_BLD.shape[1], device=self.lengths_B.device)
        return places_L < self.lengths_B[:, None]


def join(embeds_BTD: Tensor, batch: Batch, context_BCD: Tensor, sizes_B: Tensor) -> Joined:
    """Each row with the first ``sizes_B`` of ``context_BCD`` instead of its context's tokens.

    Args:
        embeds_BTD: Of the batch's tokens.
        batch: Says where the segments of each row are.
        context_BCD: In the context's place.
        sizes_B: How many of them are a row's own; 0 for none.
    """
    start_B, end_B = batch["context_start"], batch["context_end"]
    length, shift_B = embeds_BTD.shape[1], sizes_B - (end_B - start_B)
    lengths_B = batch["attention_mask"].sum(1) + shift_B
    places_L = torch.arange(int(lengths_B.max()), device=start_B.device)[None]
    behind_B1 = (start_B + sizes_B)[:, None]
    index_BL = torch.where(
        places_L < behind_B1, length + places_L - start_B[:, None], places_L - shift_B[:, None]
    )
    index_BL = torch.where(places_L < start_B[:, None], places_L, index_BL)
    index_BL = index_BL.masked_fill(places_L >= lengths_B[:, None], 0)
    source = torch.cat([embeds_BTD, context_BCD.to(embeds_BTD.dtype)], dim=1)
    joined_BLD = source.gather(1, index_BL[:, :, None].expand(-1, -1, source.shape[2]))
    shared = shared_size(batch["input_ids"], start_B)
    return Joined(joined_BLD, lengths_B, batch["answer_start"] + shift_B, shared)


def full_text(embeds_BTD: Tensor, batch: Batch) -> Joined:
    """The rows as they are."""
    shared = shared_size(batch["input_ids"], batch["context_start"])
    lengths_B = batch["attention_mask"].sum(1)
    return Joined(embeds_BTD, lengths_B, batch["answer_start"], shared)


class AnswerTokens(NamedTuple):
    """Tokens of a batch's answers, one after the other."""

    ids_N: Tensor
    rows_N: Tensor
    steps_N: Tensor
    """Place of each in its answer."""

    def row_sums(self, x_N: Tensor) -> Tensor:
        """The sum (B,) over each row's tokens; every row has one."""
        rows = int(self.rows_N[-1]) + 1
        return x_N.new_zeros(rows).index_add(0, self.rows_N, x_N)


def answer_tokens(batch: Batch, num_tokens: int | None = None) -> AnswerTokens:
    """The first K tokens of the answers, or all; the last one of an answer may be its end."""
    start_B, ids_BT = batch["answer_start"], batch["input_ids"]
    sizes_B = batch["attention_mask"].sum(1) - start_B
    if num_tokens is not None:
        sizes_B = sizes_B.clamp(max=num_tokens)
    steps_K = torch.arange(int(sizes_B.max()), device=ids_BT.device)
    rows_N, steps_N = (steps_K < sizes_B[:, None]).nonzero(as_tuple=True)
    return AnswerTokens(ids_BT[rows_N, start_B[rows_N] + steps_N], rows_N, steps_N)


def answer_logits(backbone: Backbone, joined: Joined, tokens: AnswerTokens) -> Tensor:
    """Scores (N, V) of the answers' tokens, from one pass over the rows."""
    hidden_BLD = encode_rows(backbone, joined.embeds_BLD, joined.shared)
    # logits at t predict token t + 1
    places_N = joined.answer_at_B[tokens.rows_N] + tokens.steps_N - joined.shared - 1
    return backbone.next_token_logits(hidden_BLD[tokens.rows_N, places_N])


class SoftPromptModel(nn.Module):
    """A backbone with a :class:`SoftPromptHead`, whose first weights are the same for all methods.

    Args:
        backbone: The language model.
        sizes: Of the soft prompt and its latents.
        seed: Draws the head's weights.
    """

    def __init__(self, backbone: Backbone, sizes: SoftPromptSizes, *, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        width = backbone.causal_lm.get_input_embeddings().weight.shape[1]
        self.head = SoftPromptHead(width, sizes, seed=seed)
        self.head.embedding_rms.copy_(embedding_rms(backbone))

    def soft_prompt(self, batch: Batch) -> SoftPrompt:
        """What the contexts of a batch become."""
        embeds_BTD = self.backbone.embed(batch["input_ids"])
        found: SoftPrompt = self.head(embeds_BTD, batch["context_start"], batch["context_end"])
        return found

    def student_embeds(self, batch: Batch, soft_BMD: Tensor) -> Joined:
        """The rows that are read instead of the full text: prefix, soft prompt, rest, answer."""
        rows, num_latents = soft_BMD.shape[:2]
        sizes_B = torch.full((rows,), num_latents, device=soft_BMD.device)
        return join(self.backbone.embed(batch["input_ids"]), batch, soft_BMD, sizes_B)


@torch.no_grad()
def embedding_rms(backbone: Backbone) -> Tensor:
    """Root mean square of the vectors of all tokens, as the transformer takes them."""
    table = backbone.causal_lm.get_input_embeddings()
    device = table.weight.device
    squares = [
        backbone.embed(ids).double().square().mean(1)
        for ids in torch.split(torch.arange(len(table.weight), device=device), 8192)
    ]
    return torch.cat(squares).mean().sqrt()
