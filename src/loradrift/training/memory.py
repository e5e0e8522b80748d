"""Peak memory of this run, not of the process's earlier ones."""

import resource
from pathlib import Path

import torch


def reset_peak_memory() -> None:
    """Start measuring from here."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # resets VmHWM (proc(5))


def peak_memory_bytes() -> int:
    """Largest GPU memory allocated, or on a CPU the largest resident memory, since the reset."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
