"""The analyses of ``analyze.py``: one entry each, registered by the folder of its question."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from inspect import getdoc
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from loradrift.config import AnalyzeConfig, UserError
from loradrift.config.analysis import FiguresConfig
from loradrift.progress import announced
from loradrift.report.figures import check_figures


@dataclass(frozen=True)
class Analysis:
    """An analysis: its configuration and two functions.

    A function may be named as ``module:function``, in the package of ``config``: it is imported
    when the analysis runs, so that ``--help`` stays quick.
    """

    name: str
    """Typed as ``analysis=<name>``."""

    config: type[AnalyzeConfig]
    """Its keys; the first line of the docstring is its line in ``--help``."""

    tables: Callable[[Any], Any] | str
    """Takes the configuration, reads files and computes."""

    page: Callable[[Any, Any], None] | str
    """Takes the configuration and what :attr:`tables` gave; writes and prints it."""

    figures: tuple[str, ...] = ()
    """Where its figures by name are, ``module:MAPPING``: what ``analysis.figures`` may name."""

    def tabulate(self, settings: AnalyzeConfig) -> Any:
        """Read and compute; nothing is drawn.

        Raises:
            UserError: If ``analysis.figures`` names a figure that there is not, before all else.
        """
        if self.figures and isinstance(settings.analysis, FiguresConfig):
            known = [name for drawers in self.figures for name in self.function(drawers)]
            check_figures(settings.analysis.figures, known)
        return self.function(self.tables)(settings)

    def run(self, settings: AnalyzeConfig) -> None:
        """Read, compute, write and print."""
        self.function(self.page)(settings, self.tabulate(settings))

    def function(self, named: Callable[..., Any] | str) -> Any:
        """Import a function, or the figures, that are named."""
        if isinstance(named, str):
            return pkgutil.resolve_name(f"{self.config.__module__}.{named}")
        return named


ANALYSES: dict[str, Analysis] = {}
"""Name -> entry."""


def register(analysis: Analysis) -> None:
    """Add an analysis, and its keys to the command line.

    Raises:
        ValueError: If another analysis has that name.
    """
    if analysis.name in ANALYSES:
        places = [each.config.__module__ for each in (ANALYSES[analysis.name], analysis)]
        raise ValueError(f"analysis={analysis.name} is registered twice: {' and '.join(places)}")
    ANALYSES[analysis.name] = analysis
    keys = OmegaConf.structured(analysis.config)
    keys.analysis.name = analysis.name
    ConfigStore.instance().store(analysis.name, keys, group="analysis", package="_global_")


@cache
def register_all() -> None:
    """Import the folders beside this file, which register their analyses."""
    package = import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__, f"{__package__}."):
        if module.ispkg:
            import_module(module.name)
    OmegaConf.register_resolver("analyses", describe_all, replace=True)


def describe_all() -> str:
    """The lines of ``--help``, one per analysis."""
    width = max(map(len, ANALYSES)) + 2
    heads = {name: str(getdoc(each.config)).partition("\n")[0] for name, each in ANALYSES.items()}
    return "\n".join(name.ljust(width) + heads[name].removesuffix(".") for name in sorted(heads))


def make_config(name: str, *, keys: Mapping[str, Any] | None = None, **values: Any) -> Any:
    """Make the configuration of an analysis without the command line.

    ``keys`` are those that it alone reads, ``values`` those below ``analysis``.
    """
    register_all()
    config = ANALYSES[name].config(**keys or {})
    config.analysis = replace(config.analysis, name=name, **values)
    return config


def run_analysis(settings: AnalyzeConfig) -> None:
    """Run the analysis that ``analysis=…`` names.

    Raises:
        UserError: If something that the user can fix is wrong.
        SelfCheckError: If an instrument fails its self-check; nothing is reported then.
    """
    register_all()
    name = settings.analysis.name
    analysis = ANALYSES.get(name)
    if analysis is None or not isinstance(settings, analysis.config):
        names = ", ".join(sorted(ANALYSES))
        rule = f"an analysis is chosen by analysis=<name>; there are: {names}"
        raise UserError(f"analysis.name={name}: {rule}")
    with announced(f"analysis={name}"):
        analysis.run(settings)
