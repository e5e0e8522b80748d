"""What differs between the arms: every setting, with the values of both."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from loradrift.analysis.drift.arms import Arms, Run
from loradrift.analysis.drift.pairing import Pair
from loradrift.config.keys import flatten

COORDINATES = ("seed", "task.name")
"""Settings that are a pair's place: the same in both of its runs."""

ABSENT = "-"


def settings(run: Run) -> dict[str, str]:
    """Everything that a run was made with, as text: configuration, code, machine, budget."""
    record = run.record
    made_with = {
        **record.config, "git": record.git, "versions": record.versions, "device": record.device,
        "parameters": record.parameters, "budget": record.budget | {"steps": record.steps},
    }  # fmt: skip
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in flatten(made_with).items()
        if key not in COORDINATES
    }


def differences(arms: Arms, pairs: Sequence[Pair]) -> pd.DataFrame:
    """One row for each setting that differs: ``task``, ``setting``, both values, ``over_seeds``.

    The values are in columns named after the arms; where seeds of an arm have several, each with
    its seeds, and ``over_seeds`` is true.
    """
    tasks = list(dict.fromkeys(pair.task for pair in pairs))
    found: dict[tuple[str, str, str, bool], list[str]] = defaultdict(list)
    for task in tasks:
        own = [pair for pair in pairs if pair.task == task]
        made = [[settings(run) for run in pair] for pair in own]
        for key in sorted({key for sides in made for side in sides for key in side}):
            columns = [
                {
                    pair.seed: sides[arm].get(key, ABSENT)
                    for pair, sides in zip(own, made, strict=True)
                }
                for arm in (0, 1)
            ]
            varies = any(len(set(column.values())) > 1 for column in columns)
            if varies or columns[0] != columns[1]:
                control, treatment = map(_text, columns)
                found[key, control, treatment, varies].append(task)
    rows = [
        ("all" if own == tasks else ", ".join(own), *difference)
        for difference, own in found.items()
    ]
    table = pd.DataFrame(rows, columns=["task", "setting", *arms.names, "over_seeds"])
    return table.sort_values("setting", kind="stable", ignore_index=True)


def _text(by_seed: Mapping[int, Any]) -> str:
    """The one value, or each with its seeds."""
    seeds: dict[str, list[str]] = defaultdict(list)
    for seed, value in by_seed.items():
        seeds[value].append(str(seed))
    if len(seeds) == 1:
        return next(iter(seeds))
    return "; ".join(f"{value} (seed {', '.join(own)})" for value, own in seeds.items())
