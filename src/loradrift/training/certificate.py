"""The certificate of a run: what it evaluated is the adapter that it saved, really applied."""

import time
from pathlib import Path

from torch import Tensor

from loradrift.adapters import Fingerprints, certify
from loradrift.callbacks.guards import TrainingFault
from loradrift.runs import Cell
from loradrift.tasks.prepared import PreparedData
from loradrift.training.build import Built

NUM_ROWS = 4
"""Rows of the small batch."""


def record_certificate(cell: Cell, data: PreparedData, built: Built) -> None:
    """Certify the task as it was evaluated against the exported ``model/``, and record that.

    Raises:
        TrainingFault: If a check fails or cannot be judged; the certificate is in ``run.json``.
    """
    began = time.perf_counter()
    backbone, head = built.task.backbone, built.task.head
    rows_BT = small_batch(data).to(next(backbone.parameters()).device)
    digest = data.fingerprints["base_model"]
    certificate = certify(
        built.task,
        {"default": 1.0},
        {"default": cell.folder / "model"},
        lambda: backbone.encode(rows_BT),
        base=Path(data.model.path) if data.model.weights == "pretrained" else None,
        head=None if head is None else head.state_dict(),
        initial=built.initial_adapter,
        prints=Fingerprints(recorded=digest, loaded=digest),
    )
    seconds = {"seconds": time.perf_counter() - began}
    cell.save(certificate=certificate.to_json() | seconds)
    if not certificate.passed:
        raise TrainingFault(
            f"the adapter's certificate does not hold: {certificate.verdict}; all checks are in "
            f"{cell.folder / 'run.json'}"
        )


def small_batch(data: PreparedData) -> Tensor:
    """Token ids (B, T) of a few rows: the shortest of the probe, which is sorted by length."""
    if data.probe is not None:
        return data.probe.batches[-1]["input_ids"][-NUM_ROWS:]
    batch = data.collate(data.evaluation, range(min(NUM_ROWS, len(data.evaluation))))
    ids_BT: Tensor = batch["input_ids"]
    return ids_BT
