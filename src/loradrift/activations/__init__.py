"""Activations of fixed rows: which rows, how they are captured and pooled, where they are kept."""

from loradrift.activations.capture import Encoder, capture_probe, stream_probe
from loradrift.activations.manifest import StoreError
from loradrift.activations.pooling import Pooling, row_sample
from loradrift.activations.probe import Probe
from loradrift.activations.reader import ActivationReader
from loradrift.activations.store import ActivationStore

__all__ = [
    "ActivationReader",
    "ActivationStore",
    "Encoder",
    "Pooling",
    "Probe",
    "StoreError",
    "capture_probe",
    "row_sample",
    "stream_probe",
]
