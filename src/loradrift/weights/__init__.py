"""Weight changes: factored where training left factors, one dense module at a time elsewhere.

Functions of two changes raise ValueError if these are not of one shape; what reads a file raises
UserError if it cannot be read.
"""

from loradrift.weights.by_module import (
    Along,
    Changes,
    Projections,
    difference,
    interference,
    layer_of,
    project,
    spectra,
    total_norm,
)
from loradrift.weights.delta import AnyChange, Dense, Dora, read_change, read_full
from loradrift.weights.low_rank import (
    Change,
    LowRank,
    Svd,
    apply_to,
    dora_change,
    inner,
    is_zero,
    norm,
    scaled,
    singular_values,
    svd,
    times,
)
from loradrift.weights.projection import cosine, projection, subspace_overlap
from loradrift.weights.spectrum import (
    effective_rank,
    intruder_dimensions,
    random_like,
    relative_norm,
    stable_rank,
    top_energy,
)
from loradrift.weights.stored import StoredWeights

__all__ = [
    "Along", "AnyChange", "Change", "Changes", "Dense", "Dora", "LowRank", "Projections",
    "StoredWeights", "Svd", "apply_to", "cosine", "difference", "dora_change", "effective_rank",
    "inner", "interference", "intruder_dimensions", "is_zero", "layer_of", "norm", "project",
    "projection", "random_like", "read_change", "read_full", "relative_norm", "scaled",
    "singular_values", "spectra", "stable_rank", "subspace_overlap", "svd", "times", "top_energy",
    "total_norm",
]  # fmt: skip
