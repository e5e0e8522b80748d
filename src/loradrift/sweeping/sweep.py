"""Trials, one after the other or side by side, until the search has as many as were asked for.

State lives only in the storage: the same command goes on, after a ``kill -9`` or elsewhere.
"""

import itertools
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import open_dict
from optuna.storages import RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from loradrift.config import Config, UserError, load
from loradrift.config.job_names import note_shared
from loradrift.config.studies import phase_folder
from loradrift.config.values import expand_path
from loradrift.signals import interruptible
from loradrift.sweeping.best import NothingCompletedError
from loradrift.sweeping.completion import check_failures, conclude, settled
from loradrift.sweeping.options import make_sampler, sampler_of_trial, validate_launcher
from loradrift.sweeping.recovery import (
    give_up,
    heartbeat,
    note_interruption,
    recover,
    retried,
    was_interrupted,
    worker,
)
from loradrift.sweeping.space import (
    Space,
    check_same,
    choices,
    quoted,
    read_space,
    validate_space,
    validate_values,
)
from loradrift.sweeping.storage import claiming, open_storage, reason

GRID = ("task", "method")
"""Keys whose values make a search each."""

POLL_S = 1.0
"""Seconds between two looks at the trials that others run."""


class Search(NamedTuple):
    """One search, which is an Optuna study, and what its trials share."""

    study: Study
    storage: RDBStorage
    url: str
    space: Space
    fixed: dict[str, str]
    extra: list[str]
    """Overrides that delete a key."""

    num_trials: int


class SearchSweep(OptunaSweeperImpl):
    """hydra-optuna-sweeper's parsing and launching, around trials that prune and resume."""

    def __init__(self, pruner: str, heartbeat_s: int, grace_s: int, **options: Any) -> None:
        super().__init__(**options)
        self.pruner = pruner
        self.timing = {"heartbeat_s": heartbeat_s, "grace_s": grace_s}
        self._stopped = threading.Event()

    def sweep(self, arguments: list[str]) -> None:
        """Search for each task and method that is named, one search after the other.

        Raises:
            UserError: If the storage cannot be used, a search is of another space, too many
                trials failed, or of one search none was completed.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        assert self.config is not None
        in_process = type(self.launcher).__name__ == "BasicLauncher"
        validate_launcher(self.n_jobs, in_process, getattr(self.launcher, "num_jobs", None))
        space, fixed, extra = read_space([*self._parse_sweeper_params_config(), *arguments])
        grid = {key: choices(space.pop(key)) for key in GRID if key in space}
        note_shared(self.config, [*fixed, *extra])
        validate_space(space)
        empty: list[str] = []
        for values in itertools.product(*grid.values()):
            try:
                self._search(space, fixed | dict(zip(grid, values, strict=True)), extra)
            except NothingCompletedError as error:  # another task's search may come to more
                print(error, flush=True)
                empty.append(str(error))
        if empty:
            raise NothingCompletedError("; ".join(empty))

    def _search(self, space: Space, fixed: dict[str, str], extra: list[str]) -> None:
        same_for_all = [*(f"{key}={value}" for key, value in fixed.items()), *extra]
        config = self._compose(same_for_all)
        name = f"{config.study.name}/{config.task.name}/{config.method.name}"
        url = f"sqlite:///{config.runs}/.search/{config.study.name}.db"
        if self.storage is not None:
            url = expand_path("hydra.sweeper.storage", str(self.storage))
        storage = open_storage(url, **self.timing)
        try:
            with claiming(storage.url, name):
                known = [each for each in storage.get_all_studies() if each.study_name == name]
                if not any(storage.get_n_trials(each._study_id) for each in known):
                    # nothing is written before it is legal
                    validate_values(space, lambda typed: self._compose([*same_for_all, *typed]))
                study = self._begin(storage, name, config)
                check_same(study, url, config, space)
            search = Search(study, storage, url, space, fixed, extra, self._num_trials(space))
            self._run_all(search)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            why = f"{reason(error)}; the same command goes on"
            raise UserError(f"hydra.sweeper.storage={url}: {why}") from error
        conclude(search.study, Path(config.results))

    def _compose(self, overrides: Sequence[str]) -> Config:
        """The typed configuration of a trial before anything is varied."""
        assert self.hydra_context is not None and self.config is not None
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(cfg):
            del cfg["hydra"]
        return load(cfg)

    def _begin(self, storage: RDBStorage, name: str, config: Config) -> Study:
        """The search, made if there is none; refused if it was created with another direction."""
        by_metric = "maximize" if config.task.higher_is_better else "minimize"
        direction = StudyDirection[str(self.direction or by_metric).upper()]
        study = optuna.create_study(
            study_name=name, storage=storage, direction=direction, load_if_exists=True
        )
        if study.direction is not direction:
            created, now = study.direction.name.lower(), direction.name.lower()
            raise UserError(f"{name} was created to {created}, and now is to {now}")
        return study

    def _num_trials(self, space: Space) -> int:
        number = int(self.n_trials)
        if not self._is_grid():
            return number
        return min(number, math.prod(len(each) for each in self._grid(space).values()))

    def _grid(self, space: Space) -> dict[str, Any]:
        try:
            return {name: self._to_grid_sampler_choices(each) for name, each in space.items()}
        except ValueError as error:
            raise UserError(f"hydra/sweeper/sampler=grid needs choices: {error}") from error

    def _is_grid(self) -> bool:
        return str(self.sampler["_target_"]).endswith("GridSampler")

    def _run_all(self, search: Search) -> None:
        done = len(settled(search.study.get_trials(deepcopy=False)))
        if done > search.num_trials:
            raise UserError(
                f"hydra.sweeper.n_trials must be at least {done}, the trials that "
                f"{search.study.study_name} has behind it, got {search.num_trials}"
            )
        print(f"search {search.study.study_name}: {done} of {search.num_trials} trials done")
        if self.n_jobs == 1:  # in this thread: a job in this process may take signals
            self._work(search)
            return
        with interruptible(), ThreadPoolExecutor(self.n_jobs) as pool:
            futures = [pool.submit(self._work, search) for _ in range(self.n_jobs)]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException as error:
                self._stopped.set()  # the other threads take up no other trial
                if isinstance(error, KeyboardInterrupt):
                    self.launcher.stop()  # type: ignore[union-attr]  # one that starts processes
                raise

    def _work(self, search: Search) -> None:
        """Run trials until there are enough, and none of another process is left to wait for."""
        name = search.study.study_name
        while not self._stopped.is_set():
            with claiming(search.storage.url, name):
                recover(search.study, search.storage)
                trials = search.study.get_trials(deepcopy=False)
                check_failures(name, trials, search.num_trials, self.max_failure_rate)
                trial = self._claim(search, trials)
            if trial is not None:
                self._run(search, *trial)
            elif any(each.state is TrialState.RUNNING for each in trials):
                time.sleep(POLL_S)  # should its process die, the trial is ours
            else:
                return

    def _claim(
        self, search: Search, trials: Sequence[FrozenTrial]
    ) -> tuple[Trial, tuple[str, ...]] | None:
        """The next trial and its overrides; None if there are enough."""
        begun = (TrialState.RUNNING, TrialState.WAITING)
        open_trials = [trial for trial in trials if trial.state in begun]
        queued = any(trial.state is TrialState.WAITING for trial in open_trials)
        if not queued and len(settled(trials)) + len(open_trials) >= search.num_trials:
            return None
        firsts = [trial for trial in trials if retried(trial) is None]
        if self._is_grid():
            search.study.sampler = make_sampler(self.sampler)(self._grid(search.space))
        else:
            search.study.sampler = sampler_of_trial(self.sampler, len(firsts))
        trial = search.study.ask()
        search.storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr("launcher", worker())  # last: without it the claim was not finished
        [overrides] = self._configure_trials([trial], search.space, search.fixed, search.extra)
        return trial, tuple(overrides)

    def _run(self, search: Search, trial: Trial, overrides: tuple[str, ...]) -> None:
        name, trial_id = search.study.study_name, trial._trial_id
        study, _, _ = name.split("/")
        of_trial = (
            f"study.name={quoted(phase_folder(study, 'search'))}",
            "phase=search",
            f"search.storage={quoted(search.url)}",
            f"search.study={quoted(name)}",
            f"search.trial={trial.number}",
            f"search.pruner={self.pruner}",
        )
        assert self.launcher is not None
        try:
            with heartbeat(search.storage, trial_id):
                jobs = [(*overrides, *of_trial)]
                [outcome] = self.launcher.launch(jobs, initial_job_idx=trial.number)
            if isinstance(outcome._return_value, KeyboardInterrupt):
                raise KeyboardInterrupt  # in the job's own process
        except KeyboardInterrupt:
            # one that was stopped before it had begun has noted nothing itself
            asked = search.storage.get_trial(trial_id)
            trials = search.study.get_trials(deepcopy=False)
            if not asked.state.is_finished() and not was_interrupted(asked, trials):
                note_interruption(search.storage, trial_id)
            raise
        if not search.storage.get_trial(trial_id).state.is_finished():
            # The job's process ended without a word: killed, by a scheduler or for its memory.
            with claiming(search.storage.url, name):
                give_up(search.study, search.storage, trial, "its job ended without an outcome")
