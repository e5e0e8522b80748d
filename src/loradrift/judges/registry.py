"""The judges of ``judge=…``: one entry each."""

import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from loradrift.config import DataConfig, UserError
from loradrift.judges.base import Judge
from loradrift.judges.config import JudgeConfig

Opener = Callable[[Any, DataConfig, Path], AbstractContextManager[Judge]]


@dataclass(frozen=True)
class JudgeEntry:
    """A judge: its settings, and what opens it."""

    name: str
    """Typed as ``judge=<name>``."""

    config: type[JudgeConfig]
    """Its keys below ``judge``; ``conf/judge/<name>.yaml`` makes it an option."""

    opener: Opener | str
    """A context manager that takes the settings, the source of the answers and the cache's folder.
    One that is named, ``package.module:function``, is imported when the judge is opened."""

    def open(
        self, judge: JudgeConfig, data: DataConfig, cache: Path
    ) -> AbstractContextManager[Judge]:
        """Open the judge."""
        opener: Opener = (
            pkgutil.resolve_name(self.opener) if isinstance(self.opener, str) else self.opener
        )
        return opener(judge, data, cache)


JUDGES: dict[str, JudgeEntry] = {}
"""Name -> entry."""


def add_judge(entry: JudgeEntry) -> None:
    """Make a judge known, so that ``judge=<name>`` can be typed.

    Raises:
        UserError: If the name is taken.
    """
    if entry.name in JUDGES:
        raise UserError(f"judge={entry.name} is registered twice")
    JUDGES[entry.name] = entry
    ConfigStore.instance().store(entry.name, entry.config, group="schema/judge")
