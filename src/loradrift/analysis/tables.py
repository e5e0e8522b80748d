"""Tables on disk: parquet for programs, CSV for people."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from loradrift.config import UserError
from loradrift.files import write_atomic


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


def code_version() -> str:
    """Digest of the code that computes tables: a change of it forgets what was remembered."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for name in ("similarity", "analysis", "weights"):
        for path in sorted((package / name).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
