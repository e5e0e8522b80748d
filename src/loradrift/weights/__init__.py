"""Weight changes: factored where training left factors, one dense module at a time elsewhere.

Functions of two changes raise ValueError if these are not of one shape; what reads a file raises
UserError if it cannot be read.
"""

from loradrift.weights.delta import Dense, Dora, read_change, read_full
from loradrift.weights.low_rank import (
    Change,
    LowRank,
    Svd,
    apply_to,
    dora_change,
    inner,
    norm,
    singular_values,
    svd,
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
    "Change", "Dense", "Dora", "LowRank", "StoredWeights", "Svd", "apply_to", "cosine",
    "dora_change", "effective_rank", "inner", "intruder_dimensions", "norm", "projection",
    "random_like", "read_change", "read_full", "relative_norm", "singular_values", "stable_rank",
    "subspace_overlap", "svd", "top_energy",
]  # fmt: skip
