"""``run(config, cell)``: the one way a cell is computed."""

import time

import torch

from loradrift.config import BaselineConfig, Config, UserError
from loradrift.runs import Cell, RunRecord, Status
from loradrift.training.baselines import predict_baseline
from loradrift.training.distributed import train_distributed
from loradrift.training.prepared_data import prepare
from loradrift.training.resources import cpu_threads, peak_memory_bytes, reset_peak_memory
from loradrift.training.train import train
from loradrift.training.worker import Worker


def run(config: Config, cell: Cell) -> RunRecord:
    """Compute a cell, or what is left of it, and write its record.

    Args:
        config: What to do.
        cell: The held directory.

    Raises:
        UserError: If something that the user can fix is wrong.
    """
    began = time.perf_counter()
    check_device(config)
    reset_peak_memory()
    with cpu_threads(config.trainer.threads):
        if config.trainer.devices > 1 and not isinstance(config.method, BaselineConfig):
            train_distributed(config, cell, pretrain=run)
        else:
            data = prepare(config, pretrain=run)
            began += data.model_seconds
            if isinstance(config.method, BaselineConfig):
                predict_baseline(config, cell, data)
            else:
                train(Worker(config, cell, data, began))
        device = device_name(config)
    performance = {
        "wall_time_s": time.perf_counter() - began,
        "peak_memory_bytes": float(peak_memory_bytes()),
    }
    cell.save(
        status=cell.record.status if cell.record.status is Status.PRUNED else Status.SUCCESS,
        device=device,
        performance=performance | cell.record.performance,
    )
    return cell.record


def check_device(config: Config) -> None:
    """Refuse a GPU that is not there.

    Raises:
        UserError: If ``trainer.accelerator=gpu`` and there are fewer than ``trainer.devices``.
    """
    found, wanted = torch.cuda.device_count(), config.trainer.devices
    if config.trainer.accelerator == "gpu" and found < wanted:
        raise UserError(
            f"trainer.accelerator=gpu needs {wanted} GPU{'s' * (wanted > 1)}, this machine has "
            f"{found}; use trainer=cpu"
        )


def device_name(config: Config) -> str:
    """What the run computed on."""
    if config.trainer.accelerator == "gpu":
        return torch.cuda.get_device_name()
    return f"cpu ({torch.get_num_threads()} threads)"
