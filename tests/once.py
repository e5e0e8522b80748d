"""What nothing changes between tests is read once: files of the configuration, Optuna's schema.

Bitmaps of figures are small.

Hydra still reads each command line, finds its defaults list and sets its values; but it merges the
same files once, and goes on with a copy. Merging 30 files again for each of 500 runs would be a
sixth of the suite's time.
"""

import sys
from collections.abc import Callable, Hashable
from copy import deepcopy
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository

MERGE = ConfigLoaderImpl._compose_config_from_defaults_list
PARSE = ConfigRepository.load_config


def read_once(patch: pytest.MonkeyPatch) -> None:
    """Merge each list of files once, and parse each file once, as long as the patch lasts."""
    kept: dict[Hashable, Any] = {}

    def once(repo: Any, key: Hashable, make: Callable[..., Any], *args: Any) -> Any:
        key = (key, *(source.path for source in repo.get_sources()))
        if key not in kept:
            made = make(*args)
            # what is absent now may be registered later, or registered anew
            if made is None or getattr(made, "is_schema_source", False):
                return made
            kept[key] = made
        return deepcopy(kept[key])

    def merge(self, defaults, repo):
        return once(repo, repr(defaults), MERGE, self, defaults, repo)

    def parse(self, config_path):
        return once(self, config_path, PARSE, self, config_path)

    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merge)
    patch.setattr(ConfigRepository, "load_config", parse)
    if "loradrift.report.style" in sys.modules:
        patch.setattr("loradrift.report.style.DPI", 60)
    if "optuna.storages" in sys.modules:
        storage = sys.modules["optuna.storages"].RDBStorage
        newest = storage.get_head_version

        def version(self):
            kept["schema"] = kept.get("schema") or newest(self)
            return kept["schema"]

        patch.setattr(storage, "get_head_version", version)
