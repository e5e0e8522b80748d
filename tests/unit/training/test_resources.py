"""A run's peak of memory is its own."""

from pathlib import Path

import pytest

from loradrift.training.resources import peak_memory_bytes, reset_peak_memory

MIB = 2**20


def test_the_peak_is_measured_from_the_reset_on():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system has no /proc/self/clear_refs")
    reset_peak_memory()
    before = peak_memory_bytes()
    pieces = [b"x" * (100_000 + i) for i in range(2000)]  # small enough to come from the heap
    cycle: list[object] = [pieces]
    cycle.append(cycle)
    assert peak_memory_bytes() > before + 150 * MIB
    del pieces, cycle
    reset_peak_memory()
    assert peak_memory_bytes() < before + 20 * MIB
