"""What stands on the backbone."""

# Shape suffixes: B rows, T tokens, D width, C classes, S start and end.

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from loradrift.models.backbone import Backbone


class Classifier(nn.Module):
    """A linear head on the final hidden state of the last real token.

    Its weights are drawn by ``seed``, the same for every method.
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.width, num_classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.head.weight.normal_(0.0, 0.02, generator=generator)
            self.head.bias.zero_()

    def forward(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Logits (B, C) of right-padded rows."""
        hidden_BTD = self.backbone.encode(input_ids_BT)
        logits_BC: Tensor = self.head(last_real(hidden_BTD, attention_mask_BT))
        return logits_BC


def last_real(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The last real token (B, D) of right-padded rows, which has seen all of its row."""
    last_B = mask_BT.sum(1) - 1
    return x_BTD[torch.arange(len(last_B), device=last_B.device), last_B]


class SpanLogits(NamedTuple):
    """What is said of a window."""

    start_BT: Tensor
    end_BT: Tensor
    answerable_B: Tensor | None
    """None where the head has no say in it."""


class SpanHead(nn.Module):
    """Start, end and answerability.

    A token scores as a start by what it is, and by how it fits what the last token, which has read
    question and context, looks for. Under causal attention no token knows what comes after it: the
    agent of a sentence cannot tell by itself whether its verb is the one that is asked for. With
    ``answerability`` it says too whether a window holds the answer.
    """

    def __init__(self, width: int, *, answerability: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.span = nn.Linear(width, 2)
        self.query = nn.Linear(width, 2 * width)
        self.answerable = nn.Linear(width, 1) if answerability else None
        with torch.no_grad():
            for linear in filter(None, (self.span, self.query, self.answerable)):
                linear.weight.normal_(0.0, 0.02, generator=generator)
                linear.bias.zero_()

    def forward(self, hidden_BTD: Tensor, last_BD: Tensor) -> SpanLogits:
        """Logits of each token and of the window, from its final hidden states."""
        width = hidden_BTD.shape[-1]
        wanted_BSD = self.query(last_BD).unflatten(1, (2, width))
        fit_BTS = hidden_BTD @ wanted_BSD.transpose(1, 2) / math.sqrt(width)
        logits_BTS = self.span(hidden_BTD) + fit_BTS
        start_BT, end_BT = logits_BTS.unbind(2)
        answerable_B = None if self.answerable is None else self.answerable(last_BD).squeeze(1)
        return SpanLogits(start_BT, end_BT, answerable_B)


class SpanModel(nn.Module):
    """A backbone with a :class:`SpanHead`, whose weights are the same for every method."""

    def __init__(self, backbone: Backbone, *, answerability: bool, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        generator = torch.Generator().manual_seed(seed)
        self.head = SpanHead(backbone.width, answerability=answerability, generator=generator)

    def forward(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> SpanLogits:
        """Logits of right-padded rows."""
        hidden_BTD = self.backbone.encode(input_ids_BT)
        logits: SpanLogits = self.head(hidden_BTD, last_real(hidden_BTD, attention_mask_BT))
        return logits
