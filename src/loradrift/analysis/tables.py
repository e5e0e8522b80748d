"""Tables on disk: parquet for programs, CSV for people, and what need not be computed again."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from loradrift.files import write_atomic


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as ``<name>.parquet`` and ``<name>.csv``."""
    for name, table in tables.items():
        with write_atomic(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        with write_atomic(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)


def remembered(
    folder: Path, key: Mapping[str, object], compute: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """A table from the folder of earlier results, or computed and put there.

    Args:
        folder: Of the remembered tables.
        key: Everything the table depends on: files' checksums, options, the code's version.
        compute: Makes the table.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    path = folder / f"{digest}.parquet"
    if path.is_file():
        return pd.read_parquet(path)
    table = compute()
    with write_atomic(path) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def code_version() -> str:
    """Digest of the code that computes tables: a change of it forgets what was remembered."""
    package = Path(__file__).parents[1]
    sources = [
        path
        for name in ("similarity", "analysis", "weights")
        for path in sorted((package / name).rglob("*.py"))
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
