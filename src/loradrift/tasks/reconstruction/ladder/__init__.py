"""The ladder: what is answered with other things in the context's place, on the same rows."""

from loradrift.tasks.reconstruction.ladder.files import (
    example_rows,
    flag_lines,
    ladder_facts,
    ladder_files,
    ladder_frame,
)
from loradrift.tasks.reconstruction.ladder.of_base import base_rungs
from loradrift.tasks.reconstruction.ladder.of_run import own_rungs
from loradrift.tasks.reconstruction.ladder.rungs import BASE_RUNGS, OWN_RUNGS, RungRow

__all__ = [
    "BASE_RUNGS", "OWN_RUNGS", "RungRow", "base_rungs", "example_rows", "flag_lines",
    "ladder_facts", "ladder_files", "ladder_frame", "own_rungs",
]  # fmt: skip
