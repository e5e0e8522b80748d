"""Contexts, questions and answers for ``task=reconstruction``: rows, and how they become tokens."""

from loradrift.data.reconstruction.encoding import (
    ContextSizes,
    EncodedContexts,
    contexts_fingerprint,
    encode_contexts,
)
from loradrift.data.reconstruction.rows import ContextRow, Layout, load_contexts

__all__ = [
    "ContextRow",
    "ContextSizes",
    "EncodedContexts",
    "Layout",
    "contexts_fingerprint",
    "encode_contexts",
    "load_contexts",
]
