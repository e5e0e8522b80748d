"""The base model of a cell: where it is, and that it is the one that the adapters were made for."""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from loradrift.config import ModelConfig, TinyModelConfig, UserError
from loradrift.serving.choice import Source, named_base
from loradrift.serving.config import ServingBenchmarkConfig


class Base(NamedTuple):
    """A base model on this machine; what ``plan.json`` says of it."""

    name: str
    path: str
    fingerprint: str
    parameters: int
    label: str
    """Its size and architecture, as reports write them."""


def find_base(config: ServingBenchmarkConfig, sources: Sequence[Source]) -> Base:
    """The model that ``model=`` names; the small one is made on first use.

    Raises:
        UserError: If it is not on this machine, or the runs were trained on another one.
    """
    from loradrift.models import model_fingerprint

    if config.model.weights == "random":
        raise UserError("model.weights=random stores no weights, and engines read them from files")
    digests = (each.run.started_from for each in sources if each.run)
    wanted = next(digests, None)
    tried: list[tuple[Path, str]] = []
    for folder in _places(config, sources):
        model = ModelConfig(name="local", path=str(folder))
        digest = model_fingerprint(model, seed=config.seed, cache=Path(config.cache))
        if wanted in (None, digest):
            return _described(config.model.name, folder, digest)
        tried.append((folder, digest))
    folder, digest = tried[-1]
    raise UserError(
        f"model={config.model.name} is {folder} with digest {digest[:12]}, and the runs were "
        f"trained on a base model with digest {str(wanted)[:12]}: model=local model.path=<folder> "
        "names that one"
    )


def _places(config: ServingBenchmarkConfig, sources: Sequence[Source]) -> Iterator[Path]:
    """Folders where the model may be, the likeliest first."""
    from loradrift.models.fingerprint import model_folder

    model = config.model
    if not isinstance(model, TinyModelConfig):
        yield model_folder(model)
        return
    runs = [each for each in sources if each.run is not None]
    for name in filter(None, map(named_base, runs[:1])):
        beside = Path(config.runs).resolve().parent
        for place in (Path(name), beside / name, Path(config.cache, "models", Path(name).name)):
            if (place / "config.json").is_file():
                yield place
    from loradrift.training import run as pretrain
    from loradrift.training.base_model import pretrained_tiny

    yield pretrained_tiny(model, config.data.seed, config.cache, pretrain)


def _described(name: str, folder: Path, digest: str) -> Base:
    from loradrift.weights.stored import StoredWeights, read_json

    config = read_json(folder / "config.json")
    parameters = sum(map(prod, StoredWeights(folder).shapes.values()))
    [architecture, *_] = config.get("architectures") or ["model"]
    kind = architecture.removesuffix("ForCausalLM")
    return Base(name, str(folder.resolve()), digest, parameters, f"{_size(parameters)} {kind}")


def _size(parameters: int) -> str:
    """How many parameters, in three digits.

    >>> _size(929_408), _size(1_100_048_384)
    ('0.929 M-parameter', '1.1 B-parameter')
    """
    unit, name = (1e9, "B") if parameters >= 1e9 else (1e6, "M")
    return f"{parameters / unit:.3g} {name}-parameter"


def check_length(config: ServingBenchmarkConfig, base: Base) -> None:
    """Refuse prompts and answers that the model has no positions for."""
    from loradrift.weights.stored import read_json

    read = read_json(Path(base.path) / "config.json")
    positions = read.get("text_config", read).get("max_position_embeddings")
    length = config.serving.prompt_length + config.serving.max_tokens
    if isinstance(positions, int) and 0 < positions < length:
        raise UserError(
            "serving.prompt_length and serving.max_tokens must together be at most the "
            f"{positions} positions of model={base.name}, got {length}"
        )
