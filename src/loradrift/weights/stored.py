"""Full weights in a model folder, read one tensor at a time. Never a pickle."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from loradrift.config import UserError
from loradrift.config.errors import refuse_pointer

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "is a pickle under the name of a safetensors file; it can run code and is not loaded"

CONV1D = ("clvp", "decision_transformer", "gpt2", "imagegpt", "openai-gpt")
"""Architectures of transformers whose :data:`TRANSPOSED` layers are ``Conv1D``."""

TRANSPOSED = re.compile(r"(.*\.)?(c_attn|c_fc|c_proj|q_attn)\.weight")
"""Keys of weights that ``Conv1D`` keeps as (inputs, outputs)."""

AGAIN = (
    "copy the folder here again, or, if it is a run's, move the run away and repeat its own command"
)


class StoredWeights:
    """The tensors of ``model.safetensors``, or of the shards that its index names.

    Headers are read now, values by :meth:`read`. UserError if a file is absent, damaged, or lacks
    what the index promises.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, Path] = {}
        promised, paths = self._find()
        for path in paths:
            with opened(path) as file:
                for key in file.keys():  # noqa: SIM118 - no mapping
                    self.shapes[key] = tuple(file.get_slice(key).get_shape())
                    self._files[key] = path
        if lost := sorted(promised - self.shapes.keys()):
            raise UserError(f"{folder / INDEX} names {lost[0]}, which no shard holds; {AGAIN}")

    def read(self, key: str) -> Tensor:
        """One tensor in float64; UserError if it is not there, cannot be read or is not finite."""
        path = self._path(key)
        with opened(path) as file:
            return finite(file.get_tensor(key), path, key)

    def read_rows(self, key: str, rows: slice) -> Tensor:
        """Some rows of a tensor as it is stored; otherwise as :meth:`read`."""
        path = self._path(key)
        with opened(path) as file:
            return finite(file.get_slice(key)[rows], path, key)

    def matrix(self, key: str) -> Tensor:
        """The weight of a linear map as (outputs, inputs), however the model keeps it."""
        return self.read(key).T if self.keeps_transposed(key) else self.read(key)

    def matrix_shape(self, key: str) -> tuple[int, ...] | None:
        """The shape of :meth:`matrix`; None where there is no such weight."""
        shape = self.shapes.get(key)
        return shape[::-1] if shape and self.keeps_transposed(key) else shape

    def find(self, key: str) -> str:
        """The stored name of a weight, which hubs' files may lack the model's own prefix in."""
        ends = [name for name in self.shapes if key.endswith(f".{name}")]
        return ends[0] if key not in self.shapes and len(ends) == 1 else key

    def keeps_transposed(self, key: str) -> bool:
        """Whether it is the weight of a ``Conv1D``, by the architecture in ``config.json``."""
        return self._architecture in CONV1D and TRANSPOSED.fullmatch(key) is not None

    @cached_property
    def _architecture(self) -> object:
        path = self.folder / "config.json"
        return read_json(path).get("model_type") if path.is_file() else None

    def _path(self, key: str) -> Path:
        if key not in self._files:
            raise UserError(f"{self.folder} holds no weights named {key}")
        return self._files[key]

    def _find(self) -> tuple[set[str], list[Path]]:
        """The keys that the index promises, if there is one, and the files to look into."""
        if (self.folder / SINGLE).is_file():
            return set(), [self.folder / SINGLE]
        index = self.folder / INDEX
        if not index.is_file():
            pickled = any(self.folder.glob("*.bin"))
            why = "; pickles (*.bin) are not loaded, convert them to safetensors" * pickled
            why = why or f"; {AGAIN}"
            raise UserError(f"{self.folder} holds neither {SINGLE} nor {INDEX}{why}")
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict):
            raise UserError(f"{index} is damaged: it has no weight_map; {AGAIN}")
        return set(shards), [self.folder / name for name in sorted(set(shards.values()))]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open safetensors file; UserError if it is absent, a pickle or damaged, also while read."""
    try:
        refuse_pointer(path)
        if is_pickle(path):
            raise UserError(f"{path} {PICKLE}")
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read: {error}; {AGAIN}") from error


def is_pickle(path: Path) -> bool:
    """A safetensors file begins with its header's length; a pickle or a zip of one does not."""
    with path.open("rb") as file:
        start = file.read(9)
    return start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[8:9] != b"{")


def finite(tensor: Tensor, path: Path, key: str) -> Tensor:
    """The tensor in float64; UserError if it is not finite: a run that diverged, or damage."""
    if not tensor.isfinite().all():
        raise UserError(f"{path}: {key} holds NaN or infinity")
    return tensor.double()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; UserError if the file is absent or holds anything else."""
    try:
        refuse_pointer(path)
        value = json.loads(path.read_text(encoding="utf-8"))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}; {AGAIN}") from error
    except RecursionError:
        raise UserError(f"{path} is damaged: it is nested too deeply; {AGAIN}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: expected a JSON object; {AGAIN}")
    return value
