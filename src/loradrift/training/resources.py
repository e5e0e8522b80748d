"""The peak of memory since a run began."""

import ctypes
import gc
import resource
from contextlib import suppress
from pathlib import Path

import torch


def reset_peak_memory() -> None:
    """Start measuring from here, without what an earlier run of this process has left."""
    if not gc.get_freeze_count():
        gc.freeze()  # what has been imported by the first run is never garbage, and is large
    gc.collect()  # a trainer and its module refer to each other
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)  # freed memory counts as resident until it is given back
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # where there is no such file, the peak is the process's
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM (proc(5))


def peak_memory_bytes(accelerator: str) -> int:
    """Largest GPU memory allocated, or of ``cpu`` the largest resident memory, since the reset."""
    if accelerator == "gpu":
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
