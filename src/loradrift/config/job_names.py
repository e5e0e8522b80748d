"""What messages call a job among the others of its command: by what differs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, read_write

from loradrift.config import Config
from loradrift.config.variants import varied

SHARED = "hydra.job.config.override_dirname.exclude_keys"
"""Hydra's place for keys that do not tell one job of a command from another."""


def note_shared(config: DictConfig, keys: Iterable[str]) -> None:
    """Have every job of a command know the ``keys`` that have one value in all of them."""
    names = ",".join(f"'{key.lstrip('+~')}'" for key in sorted(keys))
    with read_write(config.hydra):
        config.hydra.overrides.hydra.append(f"{SHARED}=[{names}]")


def shared_keys(hydra: DictConfig) -> set[str]:
    """What :func:`note_shared` noted, of a job's own Hydra configuration."""
    return set(OmegaConf.select(hydra, SHARED.partition(".")[2]) or ())


def own_overrides(overrides: Sequence[str], shared: set[str]) -> list[str]:
    """The overrides that tell a job from the others of its command."""
    return [each for each in overrides if each.partition("=")[0].lstrip("+~") not in shared]


def shown_name(config: Config, overrides: Sequence[str], shared: set[str]) -> str:
    """A run as messages call it: its cell, with ``...`` for the variant that all jobs share.

    Values are written as they were typed, whatever the folder's name makes of them.
    """
    typed = varied(overrides)
    own = varied(own_overrides(overrides, shared))
    rest = ["..."] if len(own) < len(typed) else []
    method = ",".join([config.method.name, *rest, *own])
    return str(Path(config.study.name, config.task.name, method, f"seed={config.seed}"))
