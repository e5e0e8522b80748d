"""Tables in Arrow files: written batch by batch, read without a copy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa


def write_arrow(path: Path, schema: Any, batches: Iterable[Any]) -> None:
    """Write record batches as they come: no more than one is held."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def read_arrow(path: Path) -> Any:
    """The table of an Arrow file, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
