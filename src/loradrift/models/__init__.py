"""Backbones, heads, and the ways to make them trainable."""

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
    "check_path",
    "export_model",
    "load_backbone",
    "load_tokenizer",
    "model_fingerprint",
    "trainable_parameters",
    "try_out",
    "write_tiny",
]
