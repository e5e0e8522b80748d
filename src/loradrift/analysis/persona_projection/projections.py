"""Weight changes of fine-tuned runs, projected onto the directions of traits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loradrift import weights
from loradrift.adapters import read_adapter
from loradrift.analysis.steering_cells.behaviour import Behaviour
from loradrift.config import UserError, check
from loradrift.runs import RunRecord
from loradrift.steering.directions import PLACE, Direction, read_direction
from loradrift.weights import Changes, StoredWeights

MAKES = "python analyze.py analysis=persona_direction"


@dataclass
class Directions:
    """The directions of a study, by trait and seed."""

    found: dict[str, dict[int, Direction]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def usable(self, trait: str, run: Behaviour) -> list[Direction]:
        """Those of a trait that a run has no part in: of other seeds, and other runs."""
        is_persona = run.record.coordinates.get("task") == "persona"
        seed = run.record.coordinates.get("seed")
        return [
            each
            for own, each in self.found.get(trait, {}).items()
            if not (is_persona and own == seed) and not _has_part(each, run.folder)
        ]

    def made_of(self, folder: Path) -> bool:
        """Whether any direction was made of a run."""
        every = (each for by_seed in self.found.values() for each in by_seed.values())
        return any(_has_part(each, folder) for each in every)


def _has_part(direction: Direction, folder: Path) -> bool:
    runs = (direction.facts[side].get("run") for side in ("positive", "negative"))
    return any(run and Path(run).resolve() == folder.resolve() for run in runs)


def read_directions(results: Path, study: str | None, base: str | None) -> Directions:
    """All directions of a study that are of this base model; a line for each other one.

    Raises:
        UserError: If there is none, or several studies and none is chosen.
    """
    root = results / PLACE
    studies = sorted(path.name for path in root.glob("*") if path.is_dir())
    if not studies:
        raise UserError(f"{root} holds no direction: `{MAKES}` writes them")
    chosen = studies[0] if study is None and len(studies) == 1 else study
    check(chosen in studies, "analysis.study", f"one of {', '.join(studies)}", chosen)
    directions = Directions()
    for folder in sorted((root / str(chosen)).glob("*/seed=*")):
        try:
            each = read_direction(folder)
        except UserError as error:
            directions.problems.append(str(error))
            continue
        if each.facts["base"].get("fingerprint") != base:
            directions.problems.append(f"{folder} is of another base model, and is left out")
        else:
            directions.found.setdefault(each.trait, {})[int(each.facts["seed"])] = each
    if not directions.found:
        why = f" ({directions.problems[0]})" if directions.problems else ""
        raise UserError(f"{root / str(chosen)} holds no direction of this base model{why}")
    return directions


def base_folder(directions: Directions) -> Path | None:
    """Where the base model is, as the directions say; None where it is not on this machine."""
    for by_seed in directions.found.values():
        for each in by_seed.values():
            folder = Path(each.facts["base"].get("path", ""))
            if folder.is_dir():
                return folder
    return None


def run_changes(folder: Path, record: RunRecord, base: Path | None) -> Changes:
    """What training changed, by module; what is dense is read when asked for.

    Raises:
        UserError: If the files cannot be read, the adapter has no certificate, or the base model's
            weights are needed and are not there.
    """
    model = folder / "model"
    stored = None if base is None else StoredWeights(base)
    if (model / "adapter_config.json").is_file():
        if (record.certificate or {}).get("passed") is not True:
            raise UserError(f"{folder} has no certificate that its adapter was applied")
        return read_adapter(model, stored)
    if stored is None:
        raise UserError(f"{folder} has all weights, and its base model is not on this machine")
    return weights.read_full(stored, StoredWeights(model)).modules


def project_runs(
    runs: Iterable[Behaviour], directions: Directions, traits: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per run and trait: projection, cosine, norm; means over the usable directions."""
    rows, problems, base = [], [], base_folder(directions)
    for run in {each.folder.resolve(): each for each in runs}.values():
        try:
            changes = run_changes(run.folder, run.record, base)
            for trait in traits:
                usable = directions.usable(trait, run)
                if not usable:
                    problems.append(
                        f"{run.run} is left out for {trait}: there is no direction of another seed "
                        f"than its own; train one (seed=…), then `{MAKES}`"
                    )
                    continue
                found = [weights.project(changes, each.changes).total for each in usable]
                rows.append(
                    {
                        "run": run.run,
                        "trait": trait,
                        "projection": sum(each.projection for each in found) / len(found),
                        "cosine": sum(each.cosine for each in found) / len(found),
                        "norm": weights.total_norm(changes),
                        "directions": len(found),
                        "made_direction": directions.made_of(run.folder),
                    }
                )
        except UserError as error:
            problems.append(f"{run.run} is left out: {error}")
    return rows, problems
