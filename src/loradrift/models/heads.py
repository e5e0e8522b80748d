"""What stands on the backbone."""

# Shape suffixes: B rows, T tokens, D width, C classes.

import torch
from torch import Tensor, nn

from loradrift.models.backbone import Backbone


class Classifier(nn.Module):
    """A linear head on the final hidden state of the last real token.

    Args:
        backbone: The transformer.
        num_classes: C.
        seed: Draws the head's weights, the same for every method.
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
        last_B = attention_mask_BT.sum(1) - 1
        rows_B = torch.arange(len(last_B), device=last_B.device)
        logits_BC: Tensor = self.head(hidden_BTD[rows_B, last_B])
        return logits_BC
