"""The way out where no loading path works: the adapter added to the weights, and verified."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from loradrift.adapters.adapter_files import AdapterFiles, read_files
from loradrift.config import UserError
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.loading import load_base, quiet
from loradrift.diagnose.merge_weights import MergedWeights, merge_weights
from loradrift.runs.model_files import HEAD

TOLERANCE = 1e-3
"""How far the merged model's outputs may be from the adapter's, relative to its effect."""


class Merge(NamedTuple):
    """What was written, and how far it is from the adapter."""

    gap: float
    """Difference of the outputs from the adapter's before rounding, relative to its effect."""

    largest: float
    """Largest difference of any one output, logits among them, of the model as written."""

    dtype: str
    untied: tuple[str, ...]

    def __str__(self) -> str:
        said = (
            f"merged: off by {self.gap:.1g} of the adapter's effect; as written in {self.dtype}, "
            f"no output differs by more than {self.largest:.2g}"
        )
        if self.untied:
            said += f"; {' and '.join(self.untied)} no longer tied (tie_word_embeddings=false)"
        return said


def merge_adapter(
    adapter: str | Path, base: str, out: str | Path, *, dtype: torch.dtype | None = None
) -> Merge:
    """Write the base model with the adapter added to its weights, as safetensors.

    ``base`` is the model that the adapter was trained on. It is merged in float32, rounded once to
    ``dtype``, by default the precision that the base is stored in, and read back: what does not
    come back is an error.

    Raises:
        UserError: If the adapter's modules cannot be found in the model, the merged outputs are
            not the adapter's, ``out`` would overwrite either, or what was written loads as another
            model.
    """
    files, out = read_files(Path(adapter)), Path(out)
    if out.resolve() in (Path(adapter).resolve(), Path(base).resolve()):
        raise UserError(f"out={out} must be another folder than the adapter's and the base's")
    loaded = load_base(files, base, is_run=False)
    merged = merge_weights(loaded, files)
    if merged.gap > TOLERANCE:
        raise UserError(f"the merged model is off by {merged.gap:.2g} of the adapter's effect")
    dtype = dtype or _stored_dtype(loaded, base)
    loaded.model.to(dtype)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch, "model")
        _write(loaded, base, files, folder)
        loaded.model.float()
        largest = _read_back(loaded, merged, files, folder)
        out.mkdir(exist_ok=True)
        for path in sorted(folder.rglob("*")):
            place = out / path.relative_to(folder)
            place.mkdir(exist_ok=True) if path.is_dir() else path.replace(place)
    return Merge(merged.gap, largest, str(dtype).removeprefix("torch."), tuple(merged.untied))


def merge(loaded: LoadedBase, files: AdapterFiles) -> float:
    """Add the adapter to the weights of ``loaded``, in place; how far its outputs then are off."""
    return merge_weights(loaded, files).gap


def _stored_dtype(loaded: LoadedBase, base: str) -> torch.dtype:
    """The precision of the stored base; models of sentence-transformers stay as loaded."""
    from transformers import AutoConfig

    stored: Any = None
    if loaded.kind != "sentence-transformers":
        stored = AutoConfig.from_pretrained(base, trust_remote_code=False).dtype
    return stored if isinstance(stored, torch.dtype) else torch.float32


@quiet()
def _write(loaded: LoadedBase, base: str, files: AdapterFiles, folder: Path) -> None:
    loaded.model.save_pretrained(folder)
    if loaded.kind != "sentence-transformers":  # which saves its own
        from transformers import AutoTokenizer

        with suppress(OSError, ValueError):  # there need not be one
            AutoTokenizer.from_pretrained(base, trust_remote_code=False).save_pretrained(folder)
    if files.head is not None:  # of a run's task
        shutil.copy(files.folder / HEAD, folder)


def _read_back(
    loaded: LoadedBase, merged: MergedWeights, files: AdapterFiles, folder: Path
) -> float:
    """Compare what was written with the model in memory, and with the adapter."""
    again = load_base(files, str(folder), is_run=False)
    again.inputs = loaded.inputs
    with torch.no_grad():
        kept, found = loaded.everything(), again.everything()
    for mine, theirs in zip(kept, found, strict=True):
        if (gap := float((mine - theirs).norm() / mine.norm())) > TOLERANCE:
            raise UserError(
                f"the merged model does not load as it was written: its outputs differ by {gap:.2g}"
            )
    return max(float((x - y).abs().max()) for x, y in zip(found, merged.wanted, strict=True))
