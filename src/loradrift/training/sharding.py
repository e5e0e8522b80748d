"""Fully sharded data parallel training: torch's ``fully_shard`` (FSDP2), driven by Lightning.

Each process keeps a part of every parameter, its gradient and its optimizer state, and gathers a
block's weights for as long as the block computes. Unlike in the first FSDP a sharded parameter
keeps its name, its shape and its own ``requires_grad``: adapters on frozen weights, the decay of
matrices alone and checkpoints by name work as with one device.
"""

from typing import Any, cast

import torch.distributed as dist
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from loradrift.tasks.base import Task


class Sharded(ModelParallelStrategy):
    """Lightning's strategy for a task that :func:`shard` has sharded.

    Checkpoints are whole, as those of one device: the first process gathers what trains.
    """

    def __init__(self, num_processes: int) -> None:
        super().__init__(num_processes, 1, save_distributed_checkpoint=False)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """What trains, whole and on the CPU, in the first process; empty in the others."""
        assert self.model is not None
        options = StateDictOptions(
            full_state_dict=True, cpu_offload=True, ignore_frozen_params=True
        )
        return get_model_state_dict(self.model, options=options)


def shard(task: Task, accelerator: str) -> None:
    """Divide a task's parameters among the processes, in place and on their devices."""
    device = "cuda" if accelerator == "gpu" else "cpu"
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    backbone = task.backbone
    for block in backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(backbone, mesh=mesh)
    # The backbone is never called itself: these are the ways into it.
    for method in ("encode", "next_token_logits"):
        register_fsdp_forward_method(cast(nn.Module, backbone), method)
    if task.head is not None:
        fully_shard(task.head, mesh=mesh)
