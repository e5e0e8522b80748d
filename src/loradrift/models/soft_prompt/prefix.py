"""Rows that begin alike, as with the same examples: what they have in common is read once."""

# Shape suffixes: B rows, L vectors of a row, P of them that all rows share, D width.

from typing import Any

import torch
from torch import Tensor

from loradrift.models.backbone import Backbone

WORTH_IT = 16
"""Fewer shared tokens are read again in each row: a pass of their own would cost more."""


def shared_size(input_ids_BT: Tensor, start_B: Tensor) -> int:
    """How many tokens before their contexts all rows have in common; 0 if too few to matter."""
    size = int(start_B.min())
    if size < WORTH_IT or len(start_B) < 2:
        return 0
    first_BP = input_ids_BT[:, :size]
    return size if bool((first_BP == first_BP[:1]).all()) else 0


def read_shared(backbone: Backbone, embeds_BLD: Tensor, shared: int) -> Any | None:
    """The keys and values of the first P vectors, for all rows.

    None where there are none, or the model does not keep them as they are: it recomputes them for
    its gradient, it is compiled, or it has states of another kind.
    """
    lm = backbone.causal_lm
    compiled = getattr(backbone.decoder, "_compiled_call_impl", None) is not None
    recomputes = lm.training and getattr(lm, "is_gradient_checkpointing", False)
    if not shared or compiled or recomputes:
        return None
    output = backbone.decoder(inputs_embeds=embeds_BLD[:1, :shared], use_cache=True)
    cache = getattr(output, "past_key_values", None)
    return cache if _spread(cache, len(embeds_BLD)) else None


def _spread(cache: Any, rows: int) -> bool:
    """Repeat each layer's keys and values for all rows, in place; False if they are not plain."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    if type(cache) is not DynamicCache or any(type(x) is not DynamicLayer for x in cache.layers):
        return False
    for layer in cache.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return True


def encode_rows(backbone: Backbone, embeds_BLD: Tensor, shared: int) -> Tensor:
    """Final states (B, L - P, D) of what is behind the first P vectors, the same in all rows.

    Rows are padded on the right. What they are by :meth:`Backbone.encode` of whole rows.
    """
    cache = read_shared(backbone, embeds_BLD, shared)
    if cache is None:
        return backbone.encode(embeds=embeds_BLD)[:, shared:]
    places_L = torch.arange(shared, embeds_BLD.shape[1], device=embeds_BLD.device)
    output = backbone.decoder(
        inputs_embeds=embeds_BLD[:, shared:],
        position_ids=places_L.expand(len(embeds_BLD), -1),
        past_key_values=cache,
        use_cache=True,
    )
    hidden_BLD: Tensor = output.last_hidden_state
    return hidden_BLD
