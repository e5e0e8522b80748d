"""``task=reconstruction``: answer questions on a context that is compressed to a few vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loradrift.config import OptimConfig
from loradrift.tasks.reconstruction.config import ReconstructionConfig
from loradrift.tasks.reconstruction.contexts import encode, load
from loradrift.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from loradrift.models import Backbone
    from loradrift.tasks.base import Task
    from loradrift.tasks.prepared import PreparedData

__all__ = ["SPEC", "ReconstructionConfig"]


def build(
    backbone: Backbone,
    task: ReconstructionConfig,
    optim: OptimConfig,
    data: PreparedData,
    seed: int,
) -> Task:
    """The language model, and what compresses contexts for it."""
    from loradrift.tasks.reconstruction.building import build_task

    return build_task(backbone, task, optim, data, seed)


SPEC = TaskSpec(
    name="reconstruction",
    label="reconstruction",
    config=ReconstructionConfig,
    metrics={"text_f1": True, "text_em": True, "loss": False},
    generates=True,
    corpus="reconstruction",
    load=load,
    encode=encode,
    build=build,
)
