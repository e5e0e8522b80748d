"""What training did to each linear layer: how much, in how many directions, and in which.

Every number stands beside what it would be if nothing were special: overlaps beside those of a
random change, intruder dimensions (Shuttleworth et al. 2024, arXiv:2410.21228) beside those of a
random change as large and those of random directions.
"""

# Shape suffixes: O outputs, I inputs, K singular values.

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from rich.progress import track
from torch import Tensor

from loradrift import weights
from loradrift.adapters import read_adapter
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.pairing import Pair
from loradrift.analysis.tables import code_version
from loradrift.analysis.weights.base_models import find_bases, label
from loradrift.caching import entry, recall
from loradrift.config import UserError
from loradrift.files import write_atomic
from loradrift.weights import Change, Dense, Dora, LowRank, StoredWeights, Svd, layer_of

TOP = 10  # top directions of the base weight, and of the tuned one; all, where there are fewer

COLUMNS = (
    "task", "method", "seed", "layer", "kind", "module", "change_norm", "base_norm",
    "relative_norm", "lora_rank", "effective_rank", "stable_rank", "energy_top_1", "energy_top_r",
    "overlap_left", "overlap_left_random", "overlap_right", "overlap_right_random", "directions",
    "intruders", "intruders_control", "intruders_random",
)  # fmt: skip
"""The table of modules has these. Norms are Frobenius norms; ``lora_rank`` is the rank of the arm's
adapter, or of the other arm's where it has none itself, and ``energy_top_r`` takes as many
directions; ``directions`` is how many could be intruders."""

Stored = LowRank | Dense | Dora


@dataclass(eq=False)
class Opened:
    """A pair whose files have been found; dense weights are read when asked for."""

    pair: Pair
    changes: tuple[Mapping[str, Stored], Mapping[str, Stored]]
    """The control's and the treatment's, by module."""

    rows: list[dict[str, object]] = field(default_factory=list)
    """What has been measured."""

    def is_compared(self, module: str) -> bool:
        """Whether both arms can change the module."""
        return all(module in own for own in self.changes)

    def rank(self, side: int, module: str) -> int | None:
        """Give the rank of the side's adapter in a module that both change, else the other's."""
        changes = [own[module] for own in self.changes]
        factors = [each.factors if isinstance(each, Dora) else each for each in changes]
        ranks = [each.rank if isinstance(each, LowRank) else None for each in factors]
        return ranks[side] or ranks[1 - side]


def weight_changes(
    pairs: Sequence[Pair], runs: Path, memory: Path, seed: int
) -> tuple[pd.DataFrame, list[str]]:
    """Measure the weights of all pairs, with controls drawn by ``seed``.

    What is in the folder ``memory`` and did not change is not measured again.

    Returns:
        One row for each run and module with :data:`COLUMNS`, and a line for each pair whose
        weights could not be read. Modules that an arm leaves alone have their norms only.
    """
    groups, problems = find_bases(pairs, runs, memory)
    tables = [pd.DataFrame(columns=list(COLUMNS))]
    for folder, own in groups.items():
        paths = {pair: entry(memory, _key(folder, pair, seed), ".parquet") for pair in own}
        known = {pair: recall(path, pd.read_parquet) for pair, path in paths.items()}
        missing = [pair for pair, table in known.items() if table is None]
        for pair, table in _measure(folder, missing, seed, problems).items():
            known[pair] = table
            with write_atomic(paths[pair]) as temporary:
                table.to_parquet(temporary, index=False)
        tables += [table for table in known.values() if table is not None]
    return pd.concat(tables[1:] or tables, ignore_index=True), problems


def _key(base: Path, pair: Pair, seed: int) -> dict[str, object]:
    """List what a pair's table depends on; files by name, size and time of change."""
    folders = [base, *(run.folder / "model" for run in pair)]
    patterns = ("*.safetensors*", "adapter_config.json")
    files = sorted(path for each in folders for name in patterns for path in each.glob(name))
    stats = [(path.resolve(), path.stat()) for path in files]
    stamps = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    arms = [run.method for run in pair]
    return {"what": f"weights {seed}", "arms": arms, "code": code_version(), "files": stamps}


def changes_of(run: Run, base: StoredWeights) -> Mapping[str, Stored]:
    """Open what a run changed in the layers, by module.

    Raises:
        UserError: If its files are missing, damaged or of another model.
    """
    folder, found = run.folder / "model", dict[str, Stored]()
    if (folder / "adapter_config.json").exists() or run.trains_adapter:
        found |= read_adapter(folder, base)
    else:
        found |= weights.read_full(base, StoredWeights(folder)).modules
    return {name: change for name, change in found.items() if layer_of(name) is not None}


def _measure(
    folder: Path, pairs: Sequence[Pair], seed: int, problems: list[str]
) -> dict[Pair, pd.DataFrame]:
    """Measure pairs that share a base model; one line of ``problems`` for each unreadable one.

    Modules are the outer loop: the base weight is decomposed once for all runs, and no two
    modules are in memory together.
    """
    if not pairs:
        return {}
    opened: list[Opened] = []
    base = StoredWeights(folder)
    for pair in pairs:
        try:
            control, treatment = (changes_of(run, base) for run in pair)
            opened.append(Opened(pair, (control, treatment)))
        except UserError as error:
            problems.append(f"weights of {label([pair])}: {error}")
    every = weights.read_full(base, base).modules if opened else ()
    modules = [name for name in every if layer_of(name) is not None]
    for module in track(modules, "weights", transient=True, disable=not modules):
        weight_OI = base.matrix(f"{module}.weight")
        is_compared = any(each.is_compared(module) for each in opened)
        base_weight = weight_OI, weights.svd(weight_OI) if is_compared else None
        for each in list(opened):
            try:
                each.rows += _pair_rows(each, module, base_weight, seed)
            except UserError as error:
                problems.append(f"weights of {label([each.pair])}: {error}")
                opened.remove(each)
    return {each.pair: pd.DataFrame(each.rows, columns=list(COLUMNS)) for each in opened}


def _pair_rows(
    opened: Opened, module: str, base: tuple[Tensor, Svd | None], seed: int
) -> list[dict[str, object]]:
    """Make a row for each arm that can change the module; one of no change where neither can.

    ``base`` is the base weight, and its directions where both arms of a pair change it.
    """
    rows: list[dict[str, object]] = []
    base_OI, directions = base
    base_size = weights.norm(base_OI)
    changed = [side for side, changes in enumerate(opened.changes) if module in changes]
    for side in changed or [0]:
        run = opened.pair[side]
        change = weights.read_change(opened.changes[side][module]) if changed else None
        size = 0.0 if change is None else weights.norm(change)
        row: dict[str, object] = {
            "task": run.task,
            "method": run.method,
            "seed": run.seed,
            "layer": layer_of(module),
            "kind": module.rpartition(".")[2],
            "module": module,
            "change_norm": size,
            "base_norm": base_size,
            "relative_norm": size / base_size if base_size else float("nan"),
        }
        if change is not None and opened.is_compared(module):
            assert directions is not None
            # its own draw, no matter which other runs and modules are measured with it
            place = f"{seed} {run.task} {run.method} {run.seed} {module}"
            generator = torch.Generator().manual_seed(zlib.crc32(place.encode()))
            row |= _measures(change, base_OI, directions, opened.rank(side, module), generator)
        rows.append(row)
    return rows


def _measures(
    change: Change, base_OI: Tensor, directions: Svd, rank: int | None, generator: torch.Generator
) -> dict[str, float | None]:
    """Measure spectrum and directions of one change; the spectrum of a change of zeros is NaN.

    ``generator`` draws the control and the null of the intruder dimensions.
    """
    values_K = weights.singular_values(change)
    overlap = weights.subspace_overlap(change, directions, min(TOP, len(directions.S_K)))
    intruders = weights.intruder_dimensions(change, base_OI, directions, generator=generator, k=TOP)
    return {
        "lora_rank": rank,
        "effective_rank": weights.effective_rank(values_K),
        "stable_rank": weights.stable_rank(values_K),
        "energy_top_1": weights.top_energy(values_K, 1),
        "energy_top_r": None if rank is None else weights.top_energy(values_K, rank),
        "overlap_left": overlap.left,
        "overlap_left_random": overlap.expected_left,
        "overlap_right": overlap.right,
        "overlap_right_random": overlap.expected_right,
        "directions": len(intruders.change.largest_cosines_T),
        "intruders": intruders.change.num_intruders,
        "intruders_control": intruders.control.num_intruders,
        "intruders_random": intruders.null.expected_num_intruders,
    }
