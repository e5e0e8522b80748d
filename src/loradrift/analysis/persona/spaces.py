"""Weight space and activation space: as persona_direction measured them beside each direction."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift import weights
from loradrift.config import UserError
from loradrift.steering.directions import PLACE, Direction, read_direction

SPACES = "spaces.parquet"
NEEDED = {"layer", "vector", "coefficient", "cosine", "cosine_random"}


class Spaces(NamedTuple):
    """What is known about the directions of a study."""

    layers: pd.DataFrame
    """One row per trait, seed, layer, vector and coefficient: the cosine between the vector and the
    mean change of state that the weights' direction causes, and that of a random direction.
    ``used`` is the kind of vector that the arm ``activation`` adds."""

    interference: pd.DataFrame
    """One row per pair of traits and seed: cosines of their weights and of their vectors."""

    problems: list[str]

    def lines(self) -> list[str]:
        """Sentences for the card."""
        own = self.layers[self.layers["used"]]
        if own.empty:
            return []
        least = own[own["coefficient"] == own["coefficient"].min()]
        middle = least[least["layer"] == least["layer"].max() // 2]
        said = f"{middle['cosine'].mean():.2f} (random {middle['cosine_random'].abs().mean():.2f})"
        return [f"cosine of the weights' effect with the vector at the middle layer: {said}"]


def read_spaces(results: Path, study: str, base: str | None, vector: str) -> Spaces:
    """The directions of a study that are of this base model; ``vector`` is the kind in use."""
    found: dict[int, dict[str, Direction]] = {}
    tables, problems = [], []
    for folder in sorted((results / PLACE / study).glob("*/seed=*")):
        try:
            each = read_direction(folder)
            if each.facts["base"].get("fingerprint") != base:
                continue
            table = pd.read_parquet(folder / SPACES)
            if lost := sorted(NEEDED - set(table.columns)):
                raise ValueError(f"it lacks the column {lost[0]}")
        except UserError as error:
            problems.append(str(error))
            continue
        except (OSError, ValueError) as error:
            reason = str(error).split("\n")[0]
            problems.append(f"{folder / SPACES} cannot be read ({reason})")
            continue
        seed = int(each.facts["seed"])
        found.setdefault(seed, {})[each.trait] = each
        tables.append(table.assign(trait=each.trait, seed=seed))
    columns = ["trait", "seed", *sorted(NEEDED)]
    layers = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    layers = layers.assign(used=layers["vector"] == vector)
    return Spaces(layers, _interference(found, vector), problems)


def _interference(found: Mapping[int, Mapping[str, Direction]], vector: str) -> pd.DataFrame:
    rows = []
    for seed, by_trait in found.items():
        changes = {trait: each.changes for trait, each in by_trait.items()}
        for (one, other), along in weights.interference(changes).items():
            vectors = [by_trait[trait].vectors[vector].numpy() for trait in (one, other)]
            middle = [each[len(each) // 2].astype(float) for each in vectors]
            sizes = np.linalg.norm(middle[0]) * np.linalg.norm(middle[1])
            rows.append(
                {
                    "trait": one, "other": other, "seed": seed, "weights": along.total.cosine,
                    "vectors": float(middle[0] @ middle[1] / sizes),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=["trait", "other", "seed", "weights", "vectors"])
