"""The weights that are steered: the base model's, or those of a run that was trained on it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loradrift.config import METHODS, BaselineConfig, ModelConfig, TinyModelConfig, UserError
from loradrift.config.benchmarks import BenchmarkConfig
from loradrift.files import sha256_of
from loradrift.runs import RunRecord, Status, read_record

if TYPE_CHECKING:
    from loradrift.models import Backbone
    from loradrift.weights import Changes


class Base(NamedTuple):
    """A base model on this machine."""

    name: str
    folder: Path
    fingerprint: str

    def __str__(self) -> str:
        return f"model={self.name} ({self.folder}, digest {self.fingerprint[:12]})"


@dataclass(frozen=True)
class Standing:
    """A model as it is before anything steers it."""

    base: Base
    folder: Path
    """What an engine loads."""

    changes: "Changes" = field(default_factory=dict)
    """A run's adapter, merged for the whole cell; empty where the folder has all weights."""

    digests: Mapping[str, str] = field(default_factory=dict)
    """sha256 of a run's files; empty for the base model itself."""

    def merged(self, backbone: "Backbone") -> AbstractContextManager[None]:
        """The loaded model with the run's adapter in its weights."""
        from loradrift.models.merging import merged

        return merged(backbone, self.changes) if self.changes else nullcontext()


def find_base(config: BenchmarkConfig) -> Base:
    """The model that ``model=`` names; the small one is made on first use.

    Raises:
        UserError: If it is not on this machine, nor on the hub.
    """
    from loradrift.models.fingerprint import model_fingerprint, model_folder

    model, cache = config.model, Path(config.cache)
    if model.weights == "random":
        raise UserError("model.weights=random stores no weights, and there is nothing to steer")
    if isinstance(model, TinyModelConfig):
        from loradrift.training import run as pretrain
        from loradrift.training.base_model import pretrained_tiny

        folder = pretrained_tiny(model, config.data.seed, config.cache, pretrain)
    else:
        folder = model_folder(model)
    local = ModelConfig(name="local", path=str(folder))
    return Base(model.name, folder.resolve(), model_fingerprint(local, seed=0, cache=cache))


def find_standing(base: Base, run: str) -> Standing:
    """The base model itself, or the weights of a finished run below ``run``.

    Raises:
        UserError: If the run is not there or not finished, its adapter has no certificate or has
            changed since, or it was trained on another base model.
    """
    if not run:
        return Standing(base, base.folder)
    folder, what = Path(run), f"steering.run={run}"
    record = finished_training(folder, what)
    if (own := record.started_from) != base.fingerprint:
        trained_on = f"{record.config['model'].get('name')} (digest {str(own)[:12]})"
        raise UserError(f"{what} was trained on {trained_on}, and {base} is another model")
    from loradrift.adapters.adapter_config import CONFIG

    model = folder / "model"
    if (model / CONFIG).is_file():
        changes, digests = certified_changes(folder, record, base, what)
        return Standing(base, base.folder, changes, digests)
    weights = sorted(model.glob("model*.safetensors"))
    if not weights:
        raise UserError(f"{what}: {model} holds no weights that answer, only a head")
    return Standing(base, model, digests={path.name: sha256_of(path) for path in weights})


def finished_training(folder: Path, what: str) -> RunRecord:
    """The record of a run that has left weights.

    Raises:
        UserError: If it has vanished, has not finished, or trains nothing; begins with ``what``.
    """
    if not folder.is_dir():
        raise UserError(f"{what}: there is no folder {folder}; the same train.py command makes it")
    record = read_record(folder)
    if record is None:
        raise UserError(f"{what}: {folder} is no run: it has no run.json")
    if record.kind != "training":
        raise UserError(f"{what}: {folder} is a cell of benchmark={record.kind}, and no training")
    if record.status is not Status.SUCCESS:
        raise UserError(f"{what}: {folder} has not finished: its status is {record.status}")
    entry = METHODS.get(str(record.coordinates.get("method")))
    if (entry and entry.config is BaselineConfig) or not (folder / "model").is_dir():
        raise UserError(f"{what}: {folder} has left no weights (model/)")
    return record


def certified_changes(
    folder: Path, record: RunRecord, base: Base, what: str
) -> tuple["Changes", dict[str, str]]:
    """The changes of a run's adapter, and sha256 of its files.

    Raises:
        UserError: If its certificate did not pass, its files are others than those, or they are not
            the whole change; begins with ``what``.
    """
    from loradrift.adapters import read_files
    from loradrift.adapters.adapter_changes import changes_of
    from loradrift.weights import StoredWeights

    certificate = record.certificate or {}
    if certificate.get("passed") is not True:
        raise UserError(
            f"{what}: {folder} has no certificate that its adapter was applied, and only such are "
            "used: train it again"
        )
    files = read_files(folder / "model")
    recorded = certificate.get("files") or {}
    for name, digest in recorded.items():
        if files.sha256.get(name, digest) != digest:
            raise UserError(
                f"{what}: {folder / 'model' / name} has changed since it was certified: train the "
                "run again"
            )
    return changes_of(files, StoredWeights(base.folder)), dict(files.sha256)
