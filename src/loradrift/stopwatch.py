"""Time by two clocks: the wall's, and the CPU's for this process."""

import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Seconds:
    """A moment of this process, or what lies between two moments.

    >>> Seconds(7.0, 3.0) - Seconds(5.0, 2.0)
    Seconds(wall=2.0, cpu=1.0)
    """

    wall: float = 0.0
    cpu: float = 0.0
    """CPU seconds of all threads of the process, which other work on the machine hardly changes."""

    @classmethod
    def now(cls) -> Self:
        """The present moment; only differences mean something."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)
