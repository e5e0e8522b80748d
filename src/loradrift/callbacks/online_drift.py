"""Drift while training: the analysis' own numbers, as they come."""

from typing import Any

from torch import Tensor

from loradrift.similarity.functional.gram import Gram, cka_distance_of_grams, linear_gram


class OnlineDrift:
    """``1 - cka`` (debiased) of each layer against step 0.

    It watches the dumps of :class:`~loradrift.callbacks.activation_dump.ActivationDump`, and
    keeps step 0's rows in the checkpoint, so that a resumed run goes on from the same origin.
    """

    def __init__(self) -> None:
        self._base_rows: dict[str, Tensor] = {}
        self._base: dict[str, Gram] = {}

    def observe(self, step: int, layers: dict[str, Tensor]) -> dict[str, float]:
        """Measure one dump, a matrix (N, D) for each layer; step 0 is the origin.

        Returns:
            ``drift/<layer>`` for each layer, and ``drift/mean`` over them.
        """
        if step == 0:
            self._set_base(layers)
        drifts = {}
        for name, rows_ND in layers.items():
            distance = cka_distance_of_grams(self._base[name], linear_gram(rows_ND))
            drifts[f"drift/{name}"] = distance.debiased
        return drifts | {"drift/mean": sum(drifts.values()) / len(drifts)}

    def state_dict(self) -> dict[str, Any]:
        """Step 0's rows."""
        return dict(self._base_rows)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the origin of the interrupted run."""
        self._set_base(state)

    def _set_base(self, layers: dict[str, Tensor]) -> None:
        self._base_rows = {name: rows_ND.clone() for name, rows_ND in layers.items()}
        self._base = {name: linear_gram(rows_ND) for name, rows_ND in layers.items()}
