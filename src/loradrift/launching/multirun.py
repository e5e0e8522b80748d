"""What ``-m`` does without a search or a study: every job, whatever becomes of the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from loradrift.config.job_names import note_shared

Jobs = Sequence[Sequence[str]]
"""The overrides of each job."""


@dataclass
class MultirunConf(BasicSweeperConf):
    """Hydra's options."""

    _target_: str = "loradrift.launching.multirun.Multirun"


class Multirun(BasicSweeper):
    """``hydra/sweeper=basic``: Hydra's own, but that a failed job ends no batch after its own.

    Nor does Hydra say a line of its own about it: the job has said what was wrong.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs; raise what the first failed job ended with, once all have ended."""
        assert self.launcher is not None and self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(self.hydra_context.config_loader)
        typed = parser.parse_overrides([*self._parse_config(), *arguments])
        varies = {each.get_key_element() for each in typed if each.is_sweep_override()}
        note_shared(self.config, {each.get_key_element() for each in typed} - varies)
        launcher = self.launcher = _Collecting(self.launcher)
        returns = super().sweep(arguments)
        if launcher.errors:
            raise launcher.errors[0]
        return returns


class _Collecting(Launcher):
    """Another launcher, that keeps the errors of its jobs and gives the outcomes of the others."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.errors: list[Exception] = []

    def setup(self, **given: Any) -> None:
        """Set up the launcher that does the work."""
        self.launcher.setup(**given)

    def launch(self, job_overrides: Jobs, initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; gives the outcomes of those that did not fail."""
        outcomes = self.launcher.launch(job_overrides, initial_job_idx)
        completed = [each for each in outcomes if each.status is JobStatus.COMPLETED]
        for each in outcomes:
            if each.status is JobStatus.COMPLETED:
                continue
            if not isinstance(each._return_value, Exception):
                raise each._return_value  # a job was asked to stop
            self.errors.append(each._return_value)
        return completed
