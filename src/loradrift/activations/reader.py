"""Read activations that were dumped: by step, by layer, whole or a few rows at a time."""

# Shape suffixes: N pooled rows, D width, L layers.

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from loradrift.activations.manifest import BOS, Manifest, Shard, StoreError, read_manifest


class ActivationReader:
    """The whole files of the store in the folder ``root``.

    Every method that is given a step raises FileNotFoundError if it was not written, and StoreError
    if its file is gone or damaged; a manifest that cannot be read is a StoreError at once.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._manifest = read_manifest(root / "manifest.json")

    @property
    def manifest(self) -> Manifest:
        """What the store holds now; a StoreError if nothing was ever written here."""
        if self._manifest is None:
            raise StoreError(f"{self.root / 'manifest.json'} does not exist")
        return self._manifest

    @property
    def steps(self) -> list[int]:
        """The steps whose files are whole, in ascending order."""
        return sorted(int(step) for step in self.manifest["steps"])

    @property
    def layer_names(self) -> list[str]:
        """``layer_0`` ... ``layer_{L-1}``."""
        return self.manifest["layers"]

    def read(self, step: int, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Read one step, touching only the bytes of the layers asked for; by default all.

        Returns:
            A matrix ``(N, D)`` for each layer, in the dtype it was written in.

        Raises:
            ValueError: If a layer is unknown.
        """
        shard = self._shard(step)
        names = self.layer_names if layers is None else layers
        if unknown := [name for name in names if name not in self.layer_names]:
            raise ValueError(f"{self.root} has the layers {self.layer_names}, got {unknown}")
        return self._load(shard, names)

    def read_bos(self, step: int) -> Tensor | None:
        """The beginning-of-sequence token's activations, float32 ``(L, D)``, if there are any."""
        shard = self._shard(step)
        return self._load(shard, [BOS])[BOS] if BOS in shard["shapes"] else None

    def verify(self, step: int) -> None:
        """Compare a step's file with its checksum."""
        shard = self._shard(step)
        path = self.root / shard["file"]
        with _readable(path), path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != shard["sha256"]:
            raise StoreError(
                f"{path} is damaged: its sha256 must be {shard['sha256']}, got {sha256}"
            )

    def check_sizes(self) -> None:
        """Compare all files with their sizes, reading none.

        Raises:
            StoreError: If a file is gone, or of another size than it was written.
        """
        for shard in self.manifest["steps"].values():
            path, expected = self.root / shard["file"], shard["bytes"]
            with _readable(path):
                size = path.stat().st_size
            if size != expected:
                raise StoreError(f"{path} is damaged: it must have {expected} bytes, got {size}")

    def num_rows(self, step: int) -> int:
        """Pooled rows of a step, N."""
        return self._shard(step)["shapes"][self.layer_names[0]][0]

    def read_rows(self, step: int, layer: str, size: int) -> Iterator[Tensor]:
        """Read one layer of one step, at most ``size`` rows at a time."""
        path = self.root / self._shard(step)["file"]
        with _readable(path), safe_open(path, framework="pt") as file:
            rows = file.get_slice(layer)
            for start in range(0, self.num_rows(step), size):
                yield rows[start : start + size]

    def _shard(self, step: int) -> Shard:
        if step not in self.steps:
            raise FileNotFoundError(f"step {step} is not in {self.root}, have {self.steps}")
        return self.manifest["steps"][str(step)]

    def _load(self, shard: Shard, names: Sequence[str]) -> dict[str, Tensor]:
        path = self.root / shard["file"]
        with _readable(path), safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
