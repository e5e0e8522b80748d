"""Data parallel training: one process per device, started here and joined here."""

import os
import signal
import socket
from contextlib import suppress
from functools import partial

import torch
from torch.multiprocessing.spawn import ProcessContext, ProcessRaisedException, start_processes

from loradrift.config import Config, UserError
from loradrift.data import Share
from loradrift.progress import lines_of, speaker
from loradrift.runs import Cell, read_record
from loradrift.signals import REQUEUE
from loradrift.stopwatch import Seconds
from loradrift.training.base_model import Pretrain
from loradrift.training.prepared_data import prepare
from loradrift.training.resources import peak_memory_bytes, reset_peak_memory
from loradrift.training.train import train
from loradrift.training.worker import Worker


def train_distributed(config: Config, cell: Cell, pretrain: Pretrain) -> None:
    """Train with ``trainer.devices`` processes; the first of them writes the run's files.

    Raises:
        KeyboardInterrupt: If asked to stop; the processes have saved a checkpoint.
        UserError: If a process failed in a way that it could explain.
    """
    prepare(config, pretrain)  # fills the caches once, before all processes ask for the same
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])  # a free one
    processes = start_processes(  # type: ignore[no-untyped-call]
        partial(_worker, run=speaker()),
        args=(config, cell, port, pretrain),
        nprocs=config.trainer.devices,
        join=False,
        start_method="spawn",
    )
    try:
        _join(processes)
    except KeyboardInterrupt:
        for pid in processes.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)  # they save and end; a second one does nothing
        with suppress(Exception):  # whatever they say while ending, they were asked to
            _join(processes)
        raise
    record = read_record(cell.folder)
    assert record is not None
    cell.record = record


def _join(processes: ProcessContext) -> None:
    try:
        while not processes.join():
            pass
    except ProcessRaisedException as error:
        kind, _, message = str(error).strip().rsplit("\n", maxsplit=1)[-1].partition(": ")
        name = kind.rpartition(".")[2]
        ours: list[type[UserError]] = [UserError, *UserError.__subclasses__()]
        of_its_kind = {each.__name__: each for each in ours}
        if name in of_its_kind:  # a storage that is away is no failure of a trial
            raise of_its_kind[name](message) from None
        if name == "OutOfMemoryError":
            raise torch.OutOfMemoryError(message) from error
        if name == "OSError":  # it names its file
            raise OSError(message) from None
        raise RuntimeError(f"a training process failed: {name}: {message}") from error


def _worker(
    rank: int, config: Config, cell: Cell, port: int, pretrain: Pretrain, *, run: str | None
) -> None:
    """One process. Its environment is what Lightning reads a launched process's place from."""
    began = Seconds.now()
    world_size = config.trainer.devices
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }
    if config.trainer.accelerator == "cpu":
        threads = config.trainer.threads or max(1, torch.get_num_threads() // world_size)
        torch.set_num_threads(threads)
    # The first process passes on what it is asked; a scheduler sends its signals to all of them.
    for number in {signal.SIGTERM, REQUEUE}:
        signal.signal(number, signal.SIG_IGN)
    if config.trainer.sharded:
        if config.trainer.accelerator == "gpu":
            torch.cuda.set_device(rank)
        backend = "nccl" if config.trainer.accelerator == "gpu" else "gloo"
        torch.distributed.init_process_group(backend, rank=rank, world_size=world_size)
    reset_peak_memory()
    cell.writes = rank == 0
    with lines_of(run if rank == 0 else None):
        train(Worker(config, cell, prepare(config, pretrain), began, Share(rank, world_size)))
    memory = {"peak_memory_bytes": float(peak_memory_bytes(config.trainer.accelerator))}
    cell.save(performance=cell.record.performance | memory)
