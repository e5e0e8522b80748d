"""A context as a few vectors: chunk means, an encoder, latents of few bits, a soft prompt."""

from loradrift.models.soft_prompt.chunks import chunk_bounds, chunk_means
from loradrift.models.soft_prompt.fitting import fit_head
from loradrift.models.soft_prompt.head import SoftPrompt, SoftPromptHead, SoftPromptSizes
from loradrift.models.soft_prompt.model import (
    Joined,
    SoftPromptModel,
    embedding_rms,
    full_text,
    join,
)
from loradrift.models.soft_prompt.quantise import Grid, pack, precise, quantised, unpack

__all__ = [
    "Grid",
    "Joined",
    "SoftPrompt",
    "SoftPromptHead",
    "SoftPromptModel",
    "SoftPromptSizes",
    "chunk_bounds",
    "chunk_means",
    "embedding_rms",
    "fit_head",
    "full_text",
    "join",
    "pack",
    "precise",
    "quantised",
    "unpack",
]
