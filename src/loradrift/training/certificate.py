"""The certificate of a run: what it evaluated is the adapter that it saved, really applied."""

import time
from pathlib import Path
from typing import cast

from loradrift.adapters import Certificate, Fingerprints, certify
from loradrift.callbacks.guards import TrainingFault
from loradrift.models.soft_prompt import SoftPromptHead
from loradrift.models.soft_prompt.adapting import ENCODER, frozen_digest, is_adapted
from loradrift.runs import Cell
from loradrift.tasks.prepared import PreparedData
from loradrift.training.build import Built


def record_certificate(cell: Cell, data: PreparedData, built: Built) -> None:
    """Certify the task as it was evaluated against the exported ``model/``, and record that.

    LoRA on a soft prompt's encoder has checks of its own: below ``encoder`` where the backbone is
    adapted too.

    Raises:
        TrainingFault: If a check fails or cannot be judged; the certificate is in ``run.json``.
    """
    began = time.perf_counter()
    task, found = built.task, dict[str, Certificate]()
    if hasattr(task.backbone.lm, "peft_config"):
        found["backbone"] = _of_backbone(cell, data, built)
    if is_adapted(task.head):
        found[ENCODER] = _of_encoder(cell, data, built)
    (_, first), *others = found.items()
    whole = first.to_json() | {name: each.to_json() for name, each in others}
    failing = next((each for each in found.values() if not each.passed), None)
    if failing is not None:
        whole["passed"] = failing.passed
    cell.save(certificate=whole | {"seconds": time.perf_counter() - began})
    if failing is not None:
        raise TrainingFault(
            f"the adapter's certificate does not hold: {failing.verdict}; all checks are in "
            f"{cell.folder / 'run.json'}"
        )


def _of_backbone(cell: Cell, data: PreparedData, built: Built) -> Certificate:
    head, digest = built.task.head, data.weights_fingerprint
    return certify(
        built.task,
        {"default": 1.0},
        {"default": cell.folder / "model"},
        lambda: built.task.certified(data),
        base=Path(data.model.path) if data.model.weights == "pretrained" else None,
        head=None if head is None else head.state_dict(),
        initial=built.initial_adapter,
        prints=Fingerprints(recorded=digest, loaded=digest),
    )


def _of_encoder(cell: Cell, data: PreparedData, built: Built) -> Certificate:
    head = cast(SoftPromptHead, built.task.head)
    return certify(
        head,
        {ENCODER: 1.0},
        {ENCODER: cell.folder / "model" / ENCODER},
        lambda: built.task.certified(data),
        prints=Fingerprints(recorded=str(head.frozen), loaded=frozen_digest(head)),
    )
