"""Activations on disk: one safetensors file for each step, and a manifest of the whole files."""

# Shape suffixes: N pooled rows, D width, L layers.

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Self

from safetensors.torch import save
from torch import Tensor

from loradrift.activations.manifest import (
    BOS,
    SCHEMA_VERSION,
    Manifest,
    ProbeRecord,
    Shard,
    StoreError,
)
from loradrift.activations.pooling import Pooling
from loradrift.activations.probe import Probe
from loradrift.activations.reader import ActivationReader
from loradrift.activations.row_file import DTYPES, RowFile, cast
from loradrift.config import check


class ActivationStore(ActivationReader):
    """Pooled activations by step and layer, written in the background.

    Reading needs no more than ``ActivationStore(root)``; writing starts with :meth:`prepare` and
    ends with :meth:`close`. A file is whole before the manifest names it, and a step written
    again replaces the old one. One process at a time may write.

    Args:
        root: The store's folder.
        dtype: What activations are written as: ``float16``, ``bfloat16`` or ``float32``.
        queue_size: Steps held in memory at most; another :meth:`write` waits for the oldest.
    """

    def __init__(self, root: Path, *, dtype: str = "float32", queue_size: int = 2) -> None:
        check(dtype in DTYPES, "callbacks.activation_dump.dtype", " or ".join(DTYPES), dtype)
        check(queue_size > 0, "queue_size", "positive", queue_size)
        super().__init__(root)
        self.dtype = dtype
        self.queue_size = queue_size
        self._prepared = False
        self._executor: ThreadPoolExecutor | None = None
        self._pending: deque[Future[None]] = deque()

    def prepare(self, probe: Probe, pooling: Pooling, layer_names: Sequence[str]) -> None:
        """Get ready to write: start a store, or continue one that was written the same way.

        Args:
            probe: The rows whose activations will be written.
            pooling: How they are pooled.
            layer_names: The keys of every later :meth:`write`, in order.

        Raises:
            ValueError: If the store already holds activations of another probe, pooling, dtype or
                layer list.
        """
        record: ProbeRecord = {"fingerprint": probe.fingerprint, "ids": list(probe.ids)}
        if pooling.name == "mean":
            record["num_tokens"] = probe.num_tokens
        wanted = Manifest(
            schema_version=SCHEMA_VERSION,
            probe=record,
            pooling=pooling.label,
            dtype=self.dtype,
            layers=list(layer_names),
            steps={},
        )
        here = self._manifest or wanted
        if differing := _differences(here, wanted):
            raise ValueError(f"{self.root} holds other activations: {'; '.join(differing)}")
        self.root.mkdir(parents=True, exist_ok=True)
        self._manifest = here
        # A process killed while writing leaves its temporary file behind.
        for leftover in self.root.glob("*.tmp"):
            leftover.unlink()
        self._prepared = True

    def write(self, step: int, layers: dict[str, Tensor], bos_LD: Tensor | None = None) -> None:
        """Queue one step; the tensors may be changed or freed afterwards.

        Args:
            step: Optimizer steps taken so far.
            layers: A matrix ``(N, D)`` for each layer.
            bos_LD: The beginning-of-sequence token's activation after each layer, if there is one;
                the same for all rows, and kept as float32 whatever the dtype.

        Raises:
            StoreError: If an earlier step could not be written, or without :meth:`prepare`.
            ValueError: If the layers are not those prepared for, or a value exceeds the dtype.
        """
        self._check_prepared(step)
        if list(layers) != self.layer_names:
            raise ValueError(f"step {step} must have {self.layer_names}, got {list(layers)}")
        self._settle(self.queue_size - 1)
        tensors = {
            name: cast(x_ND, self.dtype, f"{name} at step {step}") for name, x_ND in layers.items()
        }
        if bos_LD is not None:
            # It may be thousands of times larger than other tokens: too large for float16.
            tensors[BOS] = cast(bos_LD, "float32", f"{BOS} at step {step}")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="activation-store")
        self._pending.append(self._executor.submit(self._save, step, tensors))

    @contextmanager
    def writing(self, step: int, num_rows: int) -> Iterator[Callable[[str, Tensor], None]]:
        """Write one step of N rows in this thread as they come; none of them is held.

        Yields:
            Takes a layer's name and its next rows ``(K, D)``.

        Raises:
            StoreError: If a step could not be written, or without :meth:`prepare`.
            ValueError: If a layer got more or fewer rows, or a value exceeds the dtype.
        """
        self._check_prepared(step)
        self.flush()
        shapes: dict[str, list[int]] = {}
        with self._shard_file(step, shapes) as file:
            rows = RowFile(file, self.layer_names, num_rows, self.dtype)
            yield rows.append
            if set(rows.written.values()) != {num_rows}:
                raise ValueError(f"step {step} must have {num_rows} rows, got {rows.written}")
            shapes |= rows.shapes

    def flush(self) -> None:
        """Wait until every queued step is on disk; a StoreError names those that are not."""
        self._settle(0)

    def close(self) -> None:
        """Flush and end the writing thread; does nothing the second time."""
        try:
            self.flush()
        finally:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self.close()
        except StoreError as store_error:
            if error is None:
                raise
            error.add_note(str(store_error))

    def _check_prepared(self, step: int) -> None:
        if not self._prepared:
            raise StoreError(f"{self.root} must be prepared before step {step} is written")

    def _settle(self, at_most: int) -> None:
        """Wait until ``at_most`` steps are queued, and report every one that failed so far."""
        failures = []
        while self._pending and (len(self._pending) > at_most or self._pending[0].done()):
            try:
                self._pending.popleft().result()
            except StoreError as error:
                failures.append(error)
        if failures:
            raise StoreError("; ".join(map(str, failures))) from failures[0]

    def _save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Runs in the writing thread."""
        shapes = {name: list(x_ND.shape) for name, x_ND in tensors.items()}
        with self._shard_file(step, shapes) as file:
            file.write(save(tensors))

    @contextmanager
    def _shard_file(self, step: int, shapes: dict[str, list[int]]) -> Iterator[BufferedRandom]:
        """Open a step's file to write to, and name it in the manifest once it is in its place."""
        name = f"step={step:06d}.safetensors"
        others = {key: old for key, old in self.manifest["steps"].items() if key != str(step)}
        with replacing(self.root / name) as file:
            yield file
            _to_disk(file)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            shard = Shard(file=name, sha256=sha256, bytes=file.tell(), shapes=shapes)
            # Until the new file is named, the manifest must not give it the old one's checksum.
            if self.manifest["steps"].get(str(step), shard) != shard:
                self._publish(others)
        self._publish(others | {str(step): shard})

    def _publish(self, steps: dict[str, Shard]) -> None:
        in_order = {key: steps[key] for key in sorted(steps, key=int)}
        manifest: Manifest = {**self.manifest, "steps": in_order}
        with replacing(self.root / "manifest.json") as file:
            file.write(json.dumps(manifest, indent=2).encode())
            _to_disk(file)
        self._manifest = manifest


def _differences(here: Manifest, wanted: Manifest) -> list[str]:
    """What keeps ``wanted`` from continuing ``here``, one phrase for each difference."""
    compared = {
        "probe fingerprint": (here["probe"]["fingerprint"], wanted["probe"]["fingerprint"]),
        "pooling": (here["pooling"], wanted["pooling"]),
        "dtype": (here["dtype"], wanted["dtype"]),
        "layers": (here["layers"], wanted["layers"]),
    }
    return [
        f"{what} must be {there}, got {asked}"
        for what, (there, asked) in compared.items()
        if there != asked
    ]


@contextmanager
def replacing(path: Path) -> Iterator[BufferedRandom]:
    """Open a file beside ``path`` to write to; rename it to ``path`` if the block succeeds.

    The block calls :func:`_to_disk` when all is written. If the disk is full or the folder cannot
    be written, the file at ``path`` is as before, and a StoreError names it.
    """
    # Not files.write_atomic: the block may rely on the data being on disk.
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(file: BufferedRandom) -> None:
    """Return once everything that was written to ``file`` is on disk."""
    file.flush()
    os.fsync(file.fileno())
