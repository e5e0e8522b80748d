"""How far a chain has moved from its very first model, on the probe of each of its tasks."""

# Shape suffixes: N probe rows, D width.

from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from loradrift.activations import ActivationStore, StoreError
from loradrift.analysis.drift.control_checks import check_controls
from loradrift.analysis.drift.pairing import Pair
from loradrift.analysis.drift.token_drift import named, sampled_rows
from loradrift.analysis.frontier.points import at_best
from loradrift.analysis.frontier.reading import is_frozen
from loradrift.analysis.sequence.reading import Chain, StepRun
from loradrift.analysis.tables import code_version
from loradrift.caching import cached, entry
from loradrift.config import UserError
from loradrift.similarity.functional.gram import cka_distance_of_grams, linear_gram

COLUMNS = {"arm": str, "seed": int, "step": int, "task": str, "layer": int, "drift": float,
           "floor": float}  # fmt: skip


class Dump(NamedTuple):
    """The activations of one model on one probe."""

    store: ActivationStore
    step: int

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its file, by checksum.

        Raises:
            StoreError: If it is not there, or of another size.
        """
        if self.step not in self.store.steps:
            raise StoreError(f"{self.store.root} has no dump of step {self.step}")
        self.store.check_sizes()
        return self.store.manifest["steps"][str(self.step)]


def first_base(step: StepRun) -> Dump:
    """The very first model on the probe of a step's task."""
    folder = step.folder / "chain" / "first_base" if step.before else step.folder / "activations"
    return Dump(ActivationStore(folder), 0)


def dumps_after(step: StepRun, own: StepRun) -> list[tuple[Dump, float]]:
    """What a step left, on the probe of the task of ``own``: dumps with their weights.

    Two where the evaluated checkpoint lies between two dumps of its own task.
    """
    if step is own:
        run = at_best(step.run)
        return [(Dump(run.store, number), weight) for number, weight in run.ends.items()]
    store = ActivationStore(step.folder / "chain" / own.task / "activations")
    return [(Dump(store, store.steps[-1]), 1.0)]


def layer_table(base: Dump, again: Dump, after: Dump, seed: int) -> pd.DataFrame:
    """Each ``layer``'s ``drift`` (1 - CKA, debiased), with its controls.

    ``floor`` is the first model against itself (``again``, of another chain, in another order and
    in bfloat16), ``rerun`` the same alone, ``shuffled`` the dump with its rows in a wrong order.

    Raises:
        StoreError: If a dump is damaged, or the dumps are of other probes.
    """
    _check_alike(base, again)
    _check_alike(base, after)
    for dump in (base, again, after):
        dump.store.verify(dump.step)
    generator, rows = torch.Generator().manual_seed(seed), list[dict[str, float]]()
    for number, name in enumerate(base.store.layer_names):
        base_ND, again_ND, after_ND = (sampled_rows(*each, name) for each in (base, again, after))
        order = torch.randperm(len(base_ND), generator=generator)
        with named(after.store, after.step, name):
            gram = linear_gram(base_ND)
            compared = {
                "drift": (gram, after_ND),
                "floor": (linear_gram(base_ND[order]), again_ND[order].bfloat16()),
                "rerun": (gram, again_ND),
                "shuffled": (gram, after_ND[order]),
            }
            row = {
                key: cka_distance_of_grams(one, linear_gram(x_ND)).debiased
                for key, (one, x_ND) in compared.items()
            }
        rows.append({"layer": number} | row)
    return pd.DataFrame(rows)


def _check_alike(one: Dump, other: Dump) -> None:
    """Refuse dumps of which the rows or layers are not the same ones."""
    manifests = [dump.store.manifest for dump in (one, other)]
    facts = [
        {"layers": m["layers"], "pooling": m["pooling"], "probe": m["probe"]["fingerprint"]}
        for m in manifests
    ]
    if unequal := [what for what, value in facts[0].items() if facts[1][what] != value]:
        raise StoreError(f"{one.store.root} and {other.store.root} differ in {unequal[0]}")


def _has_first_base(chain: Chain) -> bool:
    """Whether the first model's dumps of a chain are whole."""
    try:
        for dump in map(first_base, chain.runs):
            _ = dump.identity
            dump.store.verify(dump.step)
    except UserError:
        return False
    return True


class ChainDrift:
    """Reads the drift of chains; what was read is remembered below ``results``.

    Args:
        chains: All of them: each one's first model is held against another's.
        results: Folder of everything that is written.
        seed: Draws the orders of the controls.
    """

    def __init__(self, chains: list[Chain], results: Path, seed: int) -> None:
        self.chains, self.seed = chains, seed
        self.folder, self.code = results / ".remembered", code_version()
        self._whole = cache(_has_first_base)

    def table(self, chain: Chain) -> pd.DataFrame:
        """A row with :data:`COLUMNS` for each step, task up to it, and layer.

        Raises:
            StoreError: If a dump is missing or damaged.
            UserError: If a layer has no variance, or the controls do not let a drift be believed,
                with the first models of two other chains where there are as many.
        """
        others = (each for each in self.chains if each is not chain and self._whole(each))
        errors = list[UserError]()
        for partner in [*islice(others, 2)] or [chain]:
            try:
                return self._against(chain, partner)
            except UserError as error:  # it may be the partner whose first model is another one
                errors.append(error)
        raise errors[0]

    def _against(self, chain: Chain, partner: Chain) -> pd.DataFrame:
        tables = []
        for k, step in enumerate(chain.runs):
            for j, own in enumerate(chain.runs[: k + 1]):
                table = self._cell(step, own, partner.runs[j])
                self._check(table, step, Pair(partner.runs[j].run, own.run), chain)
                kept = table[["layer", "drift", "floor"]]
                tables.append(
                    kept.assign(arm=chain.arm, seed=chain.seed, step=k + 1, task=own.task)
                )
        return pd.concat(tables, ignore_index=True)[list(COLUMNS)]

    def _cell(self, step: StepRun, own: StepRun, partner: StepRun) -> pd.DataFrame:
        base, again = first_base(own), first_base(partner)
        tables = [
            weight * self._remembered(base, again, after).set_index("layer")
            for after, weight in dumps_after(step, own)
        ]
        mean = tables[0] if len(tables) == 1 else tables[0] + tables[1]
        return mean.reset_index()

    def _remembered(self, base: Dump, again: Dump, after: Dump) -> pd.DataFrame:
        shards = [dump.identity for dump in (base, again, after)]
        key = {"what": "chain drift", "seed": self.seed, "code": self.code, "dumps": shards}

        def make(path: Path) -> None:
            layer_table(base, again, after, self.seed).to_parquet(path, index=False)

        return cached(entry(self.folder, key, ".parquet"), make, pd.read_parquet)

    def _check(self, table: pd.DataFrame, step: StepRun, pair: Pair, chain: Chain) -> None:
        drift = table["drift"].mean()
        if table["drift"].isna().any():
            raise UserError(
                f"{step.folder}: a layer has no variance over the probe's rows of "
                f"{pair.task}, so its drift is undefined; see whether training collapsed"
            )
        if not is_frozen(chain.arm):
            check_controls(pair, table, {chain.arm: drift})
