"""``run(config, cell)``: the one way a cell is computed."""

import os

import torch

from loradrift.config import BaselineConfig, Config, UserError
from loradrift.models import load_backbone
from loradrift.progress import announced
from loradrift.runs import Cell, RunRecord, Status
from loradrift.stopwatch import Seconds
from loradrift.tasks import spec_of
from loradrift.tasks.prepared import PreparedData
from loradrift.training.build import try_model
from loradrift.training.chain import check_chain, evaluate_chain
from loradrift.training.distributed import train_distributed
from loradrift.training.loggers import check_logger, open_loggers
from loradrift.training.outputs import record_inputs, write_predictions
from loradrift.training.prepared_data import prepare
from loradrift.training.resources import peak_memory_bytes, reset_peak_memory
from loradrift.training.train import train
from loradrift.training.worker import Worker

ENDED_EARLY = (Status.PRUNED, Status.COLLAPSED)
"""What the training itself has recorded of a run that it did not finish."""


def run(config: Config, cell: Cell) -> RunRecord:
    """Compute a held cell, or what is left of it, and write its record."""
    began = Seconds.now()
    check_device(config)
    check_logger(config.logger)
    reset_peak_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(config.trainer.threads or threads)
    try:
        if config.trainer.devices > 1 and not isinstance(config.method, BaselineConfig):
            if looks_back(config):
                check_chain(config, pretrain=run)
            train_distributed(config, cell, pretrain=run)
        else:
            data = prepare(config, pretrain=run)
            began += data.model_time
            if isinstance(config.method, BaselineConfig):
                predict_baseline(config, cell, data)
            else:
                if looks_back(config):
                    check_chain(config, pretrain=run)
                train(Worker(config, cell, data, began))
        if looks_back(config) and cell.record.status not in ENDED_EARLY:
            evaluate_chain(config, cell, pretrain=run)
        accelerator = config.trainer.accelerator
        gpu = accelerator == "gpu"
        device = torch.cuda.get_device_name() if gpu else f"cpu ({torch.get_num_threads()} threads)"
    finally:
        torch.set_num_threads(threads)
    taken, memory = Seconds.now() - began, float(peak_memory_bytes(accelerator))
    own = {"wall_time_s": taken.wall, "cpu_time_s": taken.cpu, "peak_memory_bytes": memory}
    cell.save(
        status=ended if (ended := cell.record.status) in ENDED_EARLY else Status.SUCCESS,
        device=device,
        performance=own | cell.record.performance,
    )
    return cell.record


def looks_back(config: Config) -> bool:
    """Whether a run evaluates the tasks before it; of a search's trial nothing is reported."""
    trains = not isinstance(config.method, BaselineConfig)
    return bool(config.start) and trains and config.search.trial is None


def check_device(config: Config) -> None:
    """Refuse GPUs that are not there, and more processes than CPU cores."""
    found, wanted = torch.cuda.device_count(), config.trainer.devices
    if config.trainer.accelerator == "gpu" and found < wanted:
        raise UserError(
            f"trainer.accelerator=gpu needs {wanted} GPU{'s' * (wanted > 1)}, this machine has "
            f"{found}; use trainer=cpu"
        )
    cores = len(os.sched_getaffinity(0))
    if config.trainer.accelerator == "cpu" and wanted > cores:
        raise UserError(
            f"trainer.devices must be at most {cores}, the CPU cores that this process may use, "
            f"got {wanted}"
        )


def predict_baseline(config: Config, cell: Cell, data: PreparedData) -> None:
    """Evaluate a baseline, which is not trained, on the validation and reported rows."""
    baseline = spec_of(config.task).baselines[config.method.name]
    backbone = None
    if baseline.needs_model:
        device = torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")
        with announced("loading the base model"):
            backbone = load_backbone(data.model, seed=config.seed).eval()
            try_model(config, data, backbone)
        backbone.to(device)
    metrics: dict[str, float] = {}
    for split in ("validation", "evaluation"):
        outcome = baseline.predict(config, data, getattr(data.splits, split), backbone)
        metrics |= {f"{split}/{name}": value for name, value in outcome.metrics.items()}
    write_predictions(cell.folder, outcome.predictions, outcome.files)
    record_inputs(config, cell, data, backbone, num_trainable=0)
    with open_loggers(config, cell, 0) as loggers:
        for logger in loggers:
            logger.log_metrics(metrics, 0)
            logger.save()
    cell.save(metrics=metrics)
