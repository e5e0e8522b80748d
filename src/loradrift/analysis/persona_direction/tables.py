"""From the runs of two sides to a direction's folder; one base model is loaded at a time."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from loradrift.adapters.directions import FACTS
from loradrift.analysis.drift.records import choose_study
from loradrift.analysis.drift.tables import print_problems
from loradrift.analysis.persona_direction import PersonaDirectionConfig
from loradrift.analysis.persona_direction.sides import COMMAND, Sides, base_named, find_sides
from loradrift.analysis.persona_direction.writing import Base, is_written, write_direction
from loradrift.analysis.weights.base_models import base_folder
from loradrift.config import UserError
from loradrift.files import read_json
from loradrift.progress import announced
from loradrift.steering.directions import PLACE, direction_folder


class Directions(NamedTuple):
    """What was written, or was there already."""

    table: pd.DataFrame
    """One row per direction."""

    folder: Path
    """Folder of the study's directions."""


def tabulate(settings: PersonaDirectionConfig) -> Directions:
    """Write the directions of a study's runs; one whose runs and settings are the same stays."""
    config, problems = settings.analysis, list[str]()
    runs, results = Path(config.runs), Path(config.results)
    study = choose_study(runs, config.study, COMMAND)
    pairs = find_sides(runs, study, settings.traits, settings.arm, problems)
    print_problems(problems)
    rows: list[dict[str, Any]] = []
    for base, own in _by_base(pairs, runs, settings):
        for sides in own:
            folder = direction_folder(results, study, sides.trait, sides.seed)
            if not is_written(folder, sides, settings):
                with announced(f"direction {sides.trait} seed={sides.seed}"):
                    write_direction(folder, study, sides, base, settings)
            facts = read_json(folder / FACTS)
            keys = ("trait", "seed", "rank", "norm", "relative_norm", "error")
            rows.append({key: facts[key] for key in keys} | {"folder": str(folder)})
    return Directions(pd.DataFrame(rows), results / PLACE / study)


def _by_base(
    pairs: list[Sides], runs: Path, settings: PersonaDirectionConfig
) -> Iterator[tuple[Base, list[Sides]]]:
    """The pairs of each base model, which is loaded when it is needed."""

    def key(sides: Sides) -> tuple[str, str]:
        record = sides.positive.record
        if record.config["model"].get("weights") == "random":
            raise UserError(f"{sides.positive.folder}: the base model's weights were never stored")
        return base_named(sides.positive), record.fingerprints["base_model"]

    for (name, digest), own in groupby(sorted(pairs, key=key), key=key):
        folder = base_folder(name, digest, False, runs, Path(settings.cache))
        yield Base(folder, digest, settings.accelerator), list(own)
