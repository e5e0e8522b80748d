"""What is to be exported: a finished run, or the folder of a PEFT adapter, and its base model."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from torch import Tensor

import loradrift.tasks  # noqa: F401  registers the baselines too
from loradrift.adapters.adapter_config import CONFIG
from loradrift.config import METHODS, BaselineConfig, ModelConfig, UserError
from loradrift.diagnose import AdapterCase, find_case
from loradrift.files import sha256_of
from loradrift.models import check_path, model_fingerprint
from loradrift.runs import RunRecord, Status, read_record
from loradrift.runs.model_files import HEAD
from loradrift.serving.export_servable import VERSION
from loradrift.weights.stored import opened

SCORE = "score"
"""The head's name in transformers' classifiers, which vLLM knows too."""


@dataclass(frozen=True)
class Source:
    """A run or an adapter, found and read."""

    folder: Path
    """Of the run or of the adapter."""

    model: Path
    """The folder with its weights."""

    run: RunRecord | None
    case: AdapterCase | None
    """The adapter and its base; None of whole weights."""

    base: Path | None
    """Folder of the base model; None of whole weights that stand on none."""

    base_fingerprint: str
    head: dict[str, Tensor] | None
    """Weight and bias of a classifier's head."""

    odd_head: bool
    """Whether the head is of another kind."""

    sha256: dict[str, str]
    """Digests of the files that go in."""

    @property
    def is_frozen(self) -> bool:
        """Whether a run with whole weights has left them as they were in its base."""
        return self.run is not None and _leaves_weights(self.run)

    @property
    def name(self) -> str:
        """The task of a run, or the name of the adapter's folder."""
        return self.folder.name if self.run is None else str(self.run.coordinates["task"])

    @property
    def label(self) -> str:
        """What reports write."""
        return self.folder.name if self.run is None else self.run.task_label

    @property
    def folder_name(self) -> str:
        """A folder's name that no other version has.

        It has no ``=``: vLLM's ``--lora-modules name=path`` would be cut there.
        """
        parts = [self.name]
        if self.run is not None:
            place = self.run.coordinates
            parts += [str(place["method"]), f"seed{place['seed']}"]
        return "-".join([*parts, self.digest]).replace("=", "-")

    @cached_property
    def digest(self) -> str:
        """Of everything that goes in."""
        places = [str(self.folder), str(self.base)]
        parts = [VERSION, sorted(self.sha256.items()), self.base_fingerprint, places]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def find_source(folder: Path, base: str | None) -> Source:
    """Find and read what is to be exported.

    Raises:
        UserError: If it is neither a finished run nor an adapter, or its base is not here.
    """
    if not folder.is_dir():
        raise UserError(f"run={folder} is no folder")
    folder = folder.resolve()
    if folder.name == "model" and (folder.parent / "run.json").is_file():
        folder = folder.parent
    run = read_record(folder)
    model = folder if run is None else folder / "model"
    if run is not None:
        _refuse_run(folder, run)
    if run is None and not (folder / CONFIG).is_file():
        raise UserError(_neither(folder))
    if (model / CONFIG).is_file():
        return _adapter_source(folder, model, run, base)
    assert run is not None
    return _weights_source(folder, model, run, base)


def _refuse_run(folder: Path, run: RunRecord) -> None:
    """Refuse runs that have left nothing to serve."""
    what = f"run={folder}"
    if run.kind != "training":
        raise UserError(f"{what} is a cell of benchmark={run.kind}, and no training: nothing in it")
    if run.status is not Status.SUCCESS:
        why = f" ({run.error})" if run.error else ""
        raise UserError(
            f"{what} has not finished: its status is {run.status}{why}; only finished runs are "
            "exported"
        )
    method = str(run.coordinates.get("method"))
    entry = METHODS.get(method)
    if entry is not None and entry.config is BaselineConfig:
        raise UserError(
            f"{what} is the baseline {method}, which trains nothing: there is nothing to serve"
        )
    if not (folder / "model").is_dir():
        raise UserError(f"{what} holds no model: its folder model/ is not there")


def _neither(folder: Path) -> str:
    what = f"run={folder} is neither a run (run.json) nor an adapter ({CONFIG})"
    if (folder / "config.json").is_file():
        whole = f"{what}; it holds a whole model, which engines serve as it is"
        return f"{whole} once {HEAD} is moved away" if (folder / HEAD).is_file() else whole
    for name in ("run.json", CONFIG):
        if below := sorted(path.parent for path in folder.glob(f"*/{name}")):
            return f"{what}; {len(below)} of the folders below it are, such as {below[0].name}"
    return what


def _adapter_source(folder: Path, model: Path, run: RunRecord | None, base: str | None) -> Source:
    try:
        case = find_case(str(model), base)
    except UserError as error:
        what = str(error)
        if what.startswith("adapter="):
            what = f"run={what.removeprefix('adapter=')}"
        if base is None and what.startswith("base="):
            what += f"; {model / CONFIG} names it: give base=<folder or hub name>"
        raise UserError(what) from None
    where = base_folder(case.base)
    fingerprint = fingerprint_of(where) if case.prints is None else case.prints.loaded
    files = case.files
    head, odd_head = _head(None if run is None else files.head)
    if head is None and files.config.get("task_type") == "SEQ_CLS":
        found = {part: files.saved.get(f"{SCORE}.{part}") for part in ("weight", "bias")}
        head = {part: x.float() for part, x in found.items() if x is not None} or None
    return Source(folder, model, run, case, where, fingerprint, head, odd_head, dict(files.sha256))


def _weights_source(folder: Path, model: Path, run: RunRecord, base: str | None) -> Source:
    """A run that has trained whole weights, or a head alone, which its base can stand below."""
    check_path(ModelConfig(name="local", path=str(model)))
    stored = {path.name: path for path in model.glob("*.safetensors")}
    head, odd_head = None, False
    if HEAD in stored:
        with opened(stored[HEAD]) as file:
            head, odd_head = _head({key: file.get_tensor(key) for key in list(file.keys())})
    sha256 = {name: sha256_of(path) for name, path in sorted(stored.items())}
    sha256["config.json"] = sha256_of(model / "config.json")
    frozen = _leaves_weights(run)
    if base is not None and not frozen:
        raise UserError(
            f"base={base} has no effect on {folder}: its method is {run.coordinates['method']}, "
            "whose weights are whole"
        )
    where, fingerprint = None, fingerprint_of(model)
    if frozen and base is not None:
        where = base_folder(base)
        fingerprint = fingerprint_of(where)
        if fingerprint != (recorded := run.started_from):
            raise UserError(
                f"base={base} has digest {fingerprint[:12]}, and {folder} was trained on the base "
                f"model with digest {str(recorded)[:12]}"
            )
    return Source(folder, model, run, None, where, fingerprint, head, odd_head, sha256)


def _leaves_weights(run: RunRecord) -> bool:
    """Whether a run has trained its head alone, be it with LoRA on the head."""
    return run.coordinates.get("method") == "head_only" or "rank" in run.config.get("method", {})


def _head(tensors: dict[str, Tensor] | None) -> tuple[dict[str, Tensor] | None, bool]:
    """A classifier's head, and whether it is one of another kind instead."""
    if tensors is None:
        return None, False
    if tensors.keys() == {"weight", "bias"}:
        return {key: x.float() for key, x in tensors.items()}, False
    return None, True


def base_folder(base: str) -> Path:
    """The folder of the base, be it the hub's copy on this machine."""
    if Path(base).is_dir():
        return Path(base).resolve()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(base, allow_patterns=["*.json", "*.safetensors"]))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"base={base} is no folder here and cannot be had from the hub ({reason}); give "
            "base=<folder>"
        ) from None


def fingerprint_of(base: Path) -> str:
    """The base model's own digest; its files are read again only where they have changed."""
    stats = [path.stat() for path in sorted(base.glob("*.safetensors"))]
    return _fingerprint(base, tuple((each.st_size, each.st_mtime_ns) for each in stats))


@lru_cache(maxsize=8)
def _fingerprint(base: Path, stats: tuple[tuple[int, int], ...]) -> str:
    with tempfile.TemporaryDirectory() as cache:
        model = ModelConfig(name="local", path=str(base))
        return model_fingerprint(model, seed=0, cache=Path(cache))
