"""Backbones, heads, and the ways to make them trainable."""

from loradrift.models.architecture import (
    check_architecture,
    check_vocabulary,
    check_weights,
    load_architecture,
    num_embeddings,
    num_positions,
    pad_token,
    reading,
)
from loradrift.models.backbone import (
    Backbone,
    check_path,
    load_backbone,
    load_tokenizer,
    trainable_parameters,
)
from loradrift.models.export import adapter_weights, export_model
from loradrift.models.fingerprint import model_fingerprint
from loradrift.models.heads import Classifier, SpanLogits, SpanModel
from loradrift.models.tiny import write_tiny
from loradrift.models.trial import try_out

__all__ = [
    "Backbone",
    "Classifier",
    "SpanLogits",
    "SpanModel",
    "adapter_weights",
    "check_architecture",
    "check_path",
    "check_vocabulary",
    "check_weights",
    "export_model",
    "load_architecture",
    "load_backbone",
    "load_tokenizer",
    "model_fingerprint",
    "num_embeddings",
    "num_positions",
    "pad_token",
    "reading",
    "trainable_parameters",
    "try_out",
    "write_tiny",
]
