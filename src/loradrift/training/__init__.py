"""One run, from its configuration to its record."""

from loradrift.training.run import run

__all__ = ["run"]
