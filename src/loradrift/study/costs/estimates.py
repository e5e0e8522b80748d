"""Time and memory of cells of which nothing like it is finished."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from loradrift.caching import entry, recall
from loradrift.config import Config, UserError
from loradrift.files import write_json
from loradrift.generation.errors import is_out_of_memory
from loradrift.study.cells import trains
from loradrift.study.costs.measuring import Sizes, measure
from loradrift.study.costs.rates import Point, Rates, at, run_seconds
from loradrift.study.costs.room import machine, no_room
from loradrift.study.costs.rows import model_key, read_lengths
from loradrift.study.costs.work import (
    Lengths,
    evaluation_positions,
    step_positions,
    work_of,
)
from loradrift.study.disk import num_steps, parameter_counts
from loradrift.training.run import check_device

FORMAT = 2
"""Of the measured rates in the cache: change it together with what is measured, and how."""

CPU_GROWTH = 1.3
"""Peak memory of a whole run on a CPU, over that of the few steps that are measured: batches of
many shapes leave gaps. 1.07 to 1.56 in 24 runs of 135 M parameters (docs/clusters.md)."""

QUESTION = 6
"""Tokens that ``zero_shot`` puts to a row, about."""

APART = 1.3
"""Sizes of batches that differ by less than this factor are measured once."""


@dataclass
class Estimates:
    """Estimates of some cells, whose rates are measured where they are not known.

    Where there is none, the reason is given as text in its place.
    """

    threads: int
    """CPU threads of a cell where ``trainer.threads`` does not say."""

    _lengths: dict[str, Lengths | str] = field(default_factory=dict)
    _rates: dict[str, Rates | str] = field(default_factory=dict)

    def measure(self, configs: Iterable[Config]) -> None:
        """Take up the rates of these runs, from the cache where they are known."""
        groups: dict[str, dict[str, Config]] = defaultdict(dict)
        for config in configs:
            if trains(config) and not isinstance(self.lengths(config), str):
                by_task = groups[self.group(config)]
                # neutral text takes memory and has a rate: a sanity check measures none
                if config.callbacks.forgetting.enabled or config.task.name not in by_task:
                    by_task[config.task.name] = config
        left = {}
        for group, by_task in groups.items():
            config, sizes = self._sizes(list(by_task.values()))
            try:
                check_device(config)
            except UserError as error:
                self._rates[group] = str(error)
                continue
            own = {"task": config.task.name, "neutral": config.callbacks.forgetting.enabled}
            values = json.loads(group) | own | {"sizes": sizes}
            path = entry(Path(config.cache, "rates"), values, ".json")
            if (known := recall(path, read_rates)) is not None:
                self._rates[group] = known
            else:
                left[group] = config, sizes, path
        if not left:
            return
        names = ", ".join(dict.fromkeys(each.method.name for each, *_ in left.values()))
        print(
            f"measuring a few steps of {names}: about 40 s each with 135 M parameters on idle CPUs",
            flush=True,
        )
        # one at a time: a listing must not take the memory that other work needs
        for group, (config, sizes, path) in left.items():
            lacking = no_room(config, max(sizes.steps))
            found = lacking or _measured_apart(config, sizes, self._threads(config))
            self._rates[group] = found
            if isinstance(found, Rates):
                write_json(path, asdict(found))

    def seconds(self, config: Config) -> float | str:
        """Seconds of a run on an idle machine."""
        lengths = self.lengths(config)
        if isinstance(lengths, str):
            return lengths
        if not trains(config):
            return self._baseline_seconds(config, lengths)
        rates = self._rates.get(self.group(config), "not measured")
        if isinstance(rates, str):
            return rates
        steps = num_steps(config, len(lengths.trained(config)))
        return run_seconds(
            work_of(config, lengths, steps, parameter_counts(config).trainable), rates
        )

    def peak_bytes(self, config: Config) -> int | str:
        """Peak memory of a run's process."""
        if not trains(config):
            return "no training"
        lengths = self.lengths(config)
        if isinstance(lengths, str):
            return lengths
        rates = self._rates.get(self.group(config), "not measured")
        if isinstance(rates, str):
            return rates
        return round(rates.peak_bytes * (CPU_GROWTH if config.trainer.accelerator == "cpu" else 1))

    def lengths(self, config: Config) -> Lengths | str:
        """The rows' lengths, of all cells that read the same."""
        if config.task.facts.generates:
            return "what is generated is not measured"
        if config.trainer.devices > 1:
            return "several devices are not measured"
        own = replace(config.data, train_rows=None), config.callbacks.forgetting, config.model
        key = repr((config.task.name, config.task.max_length, trains(config), *own))
        if key not in self._lengths:
            try:
                self._lengths[key] = read_lengths(config)
            except (UserError, OSError) as error:
                self._lengths[key] = str(error)
        return self._lengths[key]

    def group(self, config: Config) -> str:
        """Everything that rates depend on, but the sizes of batches."""
        import torch

        method = {key: value for key, value in asdict(config.method).items() if key != "optim"}
        trainer = config.trainer
        keys = ("accelerator", "precision", "gradient_checkpointing", "compile")
        values = {
            "format": FORMAT,
            "model": model_key(config),
            "method": method,
            "trainer": {key: getattr(trainer, key) for key in keys},
            "threads": self._threads(config),
            "batch_size": config.task.batch_size,
            "machine": machine(trainer.accelerator),
            "torch": torch.__version__,
        }
        return json.dumps(values, sort_keys=True)

    def _threads(self, config: Config) -> int:
        return config.trainer.threads or self.threads

    def _sizes(self, configs: Sequence[Config]) -> tuple[Config, Sizes]:
        """The run with the longest batch of these, and what to measure of it."""
        longest: dict[int, Config] = {}
        steps, forwards, largest = [], [], 0
        for config in configs:
            lengths = self.lengths(config)
            assert isinstance(lengths, Lengths)
            train = lengths.trained(config)
            own = step_positions(config, train, num_steps(config, len(train)))
            longest[int(own.max())] = config
            steps.append(int(own.mean()))
            tested = evaluation_positions(config, lengths.validation)
            forwards.append(int(tested.mean()))
            largest = max(largest, int(tested.max()))  # half of the memory of an adapter's training
        most = max(longest)
        return longest[most], Sizes(
            apart([min(steps), max(steps), most]), apart([min(forwards), max(forwards), largest])
        )

    def _baseline_seconds(self, config: Config, lengths: Lengths) -> float | str:
        from loradrift.tasks import spec_of

        if not spec_of(config.task).baselines[config.method.name].needs_model:
            return lengths.read_s
        own = [json.loads(group)["model"] for group in self._rates]
        alike = [
            rates
            for model, rates in zip(own, self._rates.values(), strict=True)
            if isinstance(rates, Rates) and model == json.loads(json.dumps(model_key(config)))
        ]
        if not alike:
            return "no training of the same model is measured"
        rates = min(alike, key=lambda each: each.forward[-1].seconds)
        asked = [
            evaluation_positions(config, each + QUESTION)
            for each in (lengths.validation, lengths.evaluation)
        ]
        passes = sum(float(at(rates.forward, each).sum()) for each in asked)
        return lengths.read_s + rates.load_s + passes


def _measured_apart(config: Config, sizes: Sizes, threads: int) -> Rates | str:
    """Rates that a process measures which has computed nothing before, like a cell's."""
    with (
        # this process's own, so that one which is killed leaves nothing
        TemporaryDirectory(prefix="measuring-", dir=config.cache) as folder,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        try:
            return pool.submit(_try_to_measure, config, sizes, threads, Path(folder)).result()
        except BrokenProcessPool:
            return (
                f"the process that measured {config.method.name} was killed; the system does so "
                "where memory is too little"
            )


def _try_to_measure(config: Config, sizes: Sizes, threads: int, folder: Path) -> Rates | str:
    try:
        return measure(config, sizes, threads, folder)
    except (UserError, OSError) as error:
        return str(error)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return f"measuring {config.method.name} takes more memory than there is"
        raise


def read_rates(path: Path) -> Rates:
    """Rates from the cache."""
    values = json.loads(path.read_text(encoding="utf-8"))
    points = {name: [Point(*each) for each in values[name]] for name in ("step", "forward")}
    return Rates(**values | points)


def apart(sizes: Sequence[int]) -> list[int]:
    """Sizes in order, but those close below another; the largest stays.

    >>> apart([100, 110, 400])
    [110, 400]
    """
    kept: list[int] = []
    for size in sorted(sizes, reverse=True):
        if not kept or size * APART < kept[-1]:
            kept.append(size)
    return kept[::-1]
