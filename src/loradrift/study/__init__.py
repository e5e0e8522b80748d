"""Whole studies, phase by phase: ``hydra/sweeper=loradrift_study``."""

from loradrift.study.plugin import register

__all__ = ["register"]
