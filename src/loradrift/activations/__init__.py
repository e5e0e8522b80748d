"""Activations of fixed rows: which rows, how they are captured and pooled, where they are kept."""

from loradrift.activations.capture import Captured, Encoder, capture_probe, stream_probe
from loradrift.activations.manifest import StoreError, check_sizes
from loradrift.activations.pooling import Pooling, row_sample
from loradrift.activations.probe import Probe
from loradrift.activations.reader import ActivationReader
from loradrift.activations.store import ActivationStore

__all__ = [
    "ActivationReader",
    "ActivationStore",
    "Captured",
    "Encoder",
    "Pooling",
    "Probe",
    "StoreError",
    "capture_probe",
    "check_sizes",
    "row_sample",
    "stream_probe",
]
