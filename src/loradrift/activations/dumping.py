"""One dump of a model on a probe, outside of a training."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from loradrift.activations.capture import Encoder, capture_probe, stream_probe
from loradrift.activations.pooling import Pooling
from loradrift.activations.probe import Probe
from loradrift.activations.store import ActivationStore


def dump_once(
    backbone: nn.Module, folder: Path, probe: Probe, pooling: Pooling, *, dtype: str, step: int
) -> None:
    """Write the pooled block outputs of a probe as the only step of the store in ``folder``.

    Args:
        backbone: An :class:`~loradrift.activations.Encoder`, on the device to compute on.
        folder: A new store, or one that a killed process began.
        probe: The rows.
        pooling: How their tokens become rows.
        dtype: What the activations are written as.
        step: Its number.

    Raises:
        StoreError: If the files cannot be written.
    """
    device = next(backbone.parameters()).device
    names = [f"layer_{index}" for index in range(len(cast(Encoder, backbone).blocks))]
    with ActivationStore(folder, dtype=dtype) as store:
        store.prepare(probe, pooling, names)
        if pooling.name != "tokens":
            store.write(step, *capture_probe(backbone, probe, pooling, device))
            return
        with store.writing(step, pooling.num_rows(probe)) as write:

            def receive(index: int, rows_KD: Tensor) -> None:
                write(names[index], rows_KD)

            stream_probe(backbone, probe, pooling, torch.device(device), receive)
