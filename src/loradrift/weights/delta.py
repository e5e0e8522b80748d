"""Changes against a stored base model, read one module at a time."""

# Shape suffixes: O outputs, I inputs.

import re
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from loradrift.config import UserError
from loradrift.weights.low_rank import Change, LowRank, dora_change
from loradrift.weights.stored import StoredWeights

PART = 2**20
"""Numbers of a dense difference that are held at a time where it is read in pieces: 8 MiB."""

EMBEDDING = re.compile(r"(.*\.)?(wte|wpe|\w*embed\w*)")
"""Modules whose 2-D weight is a table of rows, not a linear map."""


class Dense(NamedTuple):
    """A change by full fine-tuning: tuned minus base, read when asked for."""

    base: StoredWeights
    tuned: StoredWeights
    key: str
    prefix: str = ""
    """What the tuned model's name of it begins with, beside the base's."""

    def read(self) -> Tensor:
        """The difference in float64, of a linear map as (O, I)."""
        change = self.tuned.read(self.prefix + self.key) - self.base.read(self.key)
        return change.T if self.base.keeps_transposed(self.key) else change

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        shape = self.base.matrix_shape(self.key)
        assert shape is not None
        return shape

    def parts(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """The difference in pieces of at most :data:`PART` numbers, each with its place in (O, I).

        Example:
            >>> import pathlib, safetensors.torch, tempfile, torch
            >>> folder = pathlib.Path(tempfile.mkdtemp())
            >>> weights = {"q_proj.weight": torch.ones(1, 2)}
            >>> safetensors.torch.save_file(weights, folder / "model.safetensors")
            >>> base = StoredWeights(folder)
            >>> [part.tolist() for _, _, part in Dense(base, base, "q_proj.weight").parts()]
            [[[0.0, 0.0]]]
        """
        rows, columns = self.base.shapes[self.key]
        step, whole = max(1, PART // max(1, columns)), slice(None)
        for start in range(0, rows, step):
            place = slice(start, start + step)
            tuned = self.tuned.read_rows(self.prefix + self.key, place)
            piece = tuned - self.base.read_rows(self.key, place)
            if self.base.keeps_transposed(self.key):
                yield whole, place, piece.T
            else:
                yield place, whole, piece


class Dora(NamedTuple):
    """A change by DoRA: rows of the adapted weight, set to learned lengths; dense when read."""

    base: StoredWeights
    key: str
    factors: LowRank
    magnitude_O: Tensor

    def read(self) -> Tensor:
        """:func:`~loradrift.weights.dora_change` of the stored weight."""
        return dora_change(self.base.matrix(self.key), self.factors, self.magnitude_O)

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return tuple(self.factors.shape)


AnyChange = Change | Dense | Dora
"""A change as it is, or one that is read when asked for."""


def read_change(change: AnyChange) -> Change:
    """What the formulas work on: factors and matrices as they are, anything else read now.

    Example:
        >>> read_change(LowRank(torch.ones(2, 1), torch.ones(1, 3))).shape
        torch.Size([2, 3])
    """
    return change.read() if isinstance(change, Dense | Dora) else change


class FullChange(NamedTuple):
    """What full fine-tuning may have changed."""

    modules: dict[str, Dense]
    """Linear layers by module name."""

    others: dict[str, Dense]
    """Everything else by tensor name: norms, embeddings, biases."""


def read_full(base: StoredWeights, tuned: StoredWeights) -> FullChange:
    """Pair the tensors of two folders, reading none.

    Raises:
        UserError: If a tensor has no partner, or one of another shape.

    Example:
        >>> import pathlib, safetensors.torch, tempfile, torch
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> weights = {"q_proj.weight": torch.ones(1, 2), "norm.weight": torch.ones(2)}
        >>> safetensors.torch.save_file(weights, folder / "model.safetensors")
        >>> base = StoredWeights(folder)
        >>> read_full(base, tuned=base).modules["q_proj"].read().tolist()
        [[0.0, 0.0]]
    """
    prefix = _prefix(base, tuned)
    names = {prefix + key for key in base.shapes}
    for here, there, lost in (
        (base, tuned, sorted(names - tuned.shapes.keys())),
        (tuned, base, sorted(tuned.shapes.keys() - names)),
    ):
        if lost:
            some = lost[0] if len(lost) == 1 else f"{lost[0]} and {len(lost) - 1} more"
            raise UserError(
                f"{there.folder} lacks {some}, which {here.folder} has: these are not one model "
                "before and after training"
            )
    change = FullChange({}, {})
    for key, shape in base.shapes.items():
        if tuned.shapes[prefix + key] != shape:
            other = f"{tuned.shapes[prefix + key]} in {tuned.folder}"
            raise UserError(f"{key} has shape {shape} in {base.folder} and {other}")
        module = key.removesuffix(".weight")
        is_linear = module != key and len(shape) == 2 and not EMBEDDING.fullmatch(module)
        group, name = (change.modules, module) if is_linear else (change.others, key)
        group[name] = Dense(base, tuned, key, prefix)
    return change


def _prefix(base: StoredWeights, tuned: StoredWeights) -> str:
    """What the tuned weights' names begin with, beside the base's: hubs' files may lack it."""
    first = next(iter(base.shapes), "")
    prefixes = [key.removesuffix(first) for key in tuned.shapes if key.endswith(f".{first}")]
    fits = [each for each in prefixes if all(each + key in tuned.shapes for key in base.shapes)]
    return fits[0] if fits else ""
