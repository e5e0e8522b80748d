"""Tables on disk, parquet for programs and CSV for people, and columns that many tables have."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from loradrift.config import UserError
from loradrift.files import write_atomic
from loradrift.statistics import t_interval


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as ``<name>.parquet`` and ``<name>.csv``."""
    for name, table in tables.items():
        with write_atomic(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        with write_atomic(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)


def read_tables(folder: Path, names: Iterable[str], command: str) -> dict[str, pd.DataFrame]:
    """What :func:`write_tables` wrote.

    Raises:
        UserError: If a table is missing or damaged; says that ``command`` makes it.
    """
    tables = {}
    for name in names:
        path = folder / f"{name}.parquet"
        try:
            tables[name] = pd.read_parquet(path)
        except FileNotFoundError:
            raise UserError(f"{path} is missing: `{command}` makes it") from None
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
            reason = str(error).split("\n")[0]
            raise UserError(f"{path} is damaged ({reason}): `{command}` makes it again") from None
    return tables


def interval_row(name: str, values: Sequence[float]) -> dict[str, float]:
    """A mean over seeds with its 95 % t interval as columns; NaN of no value or one seed.

    >>> [*interval_row("x", [1.0]).items()]
    [('x', 1.0), ('x_low', nan), ('x_high', nan)]
    """
    ends = t_interval(values)[:3] if len(values) else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(float, ends), strict=True))


def code_version() -> str:
    """Digest of the code that computes tables: a change of it forgets what was remembered."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for name in ("similarity", "analysis", "weights"):
        for path in sorted((package / name).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
