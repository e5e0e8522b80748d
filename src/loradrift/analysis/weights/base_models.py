"""Where the base model of a pair is on this machine, and that it is still the same model."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.pairing import Pair
from loradrift.config import ModelConfig, UserError
from loradrift.models import model_fingerprint
from loradrift.weights.stored import read_json

Base = tuple[str, str, bool]
"""A base model as a pair names it: folder or name on the hub, fingerprint, and whether its weights
were drawn and never stored."""


def find_bases(
    pairs: Sequence[Pair], runs: Path, cache: Path
) -> tuple[dict[Path, list[Pair]], list[str]]:
    """Group pairs by the folder of their base model, whose digest the ``cache`` remembers.

    Relative names of models are looked up here and beside the folder of all runs, where training
    was started.

    Returns:
        The groups, and one line for each model that is not there, with what to do.
    """
    problems: list[str] = []
    named: dict[Base, list[Pair]] = defaultdict(list)
    for pair in pairs:
        try:
            named[base_of(pair)].append(pair)
        except UserError as error:
            problems.append(f"weights of {label([pair])}: {error}")
    found: dict[Path, list[Pair]] = defaultdict(list)
    for base, own in named.items():
        try:
            found[base_folder(*base, runs, cache)] += own
        except UserError as error:
            problems.append(f"weights of {label(own)}: {error}")
    return found, problems


def label(pairs: Sequence[Pair]) -> str:
    """Name the first pair, and how many others there are."""
    more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return f"{pairs[0].task} seed={pairs[0].seed}{more}"


def base_of(runs: Sequence[Run]) -> Base:
    """The base model of runs that share it.

    Raises:
        UserError: If none of them names its folder.
    """
    record = runs[-1].record
    model = record.config.get("model", {})
    name = model.get("path")
    for run in runs:
        adapter = run.folder / "model/adapter_config.json"
        if adapter.exists():
            name = read_json(adapter).get("base_model_name_or_path")
    if not name:
        needed = "an adapter does, and model.path does"
        raise UserError(f"no run names its base model's folder: {needed}")
    return str(name), record.fingerprints["base_model"], model.get("weights") == "random"


def base_folder(name: str, fingerprint: str, is_random: bool, runs: Path, cache: Path) -> Path:
    """Find the folder of a base model, with the same model still in it.

    Args:
        name: A folder or a hub's name, as a run knows it.
        fingerprint: Of the model that was trained.
        is_random: Whether its weights were drawn and never stored.
        runs: Folder of all runs; a relative name is looked up beside it too.
        cache: Where digests are remembered.

    Raises:
        UserError: If it is not on this machine, or another model now.
    """
    from huggingface_hub import snapshot_download

    if is_random:
        drawn = "was drawn at random (model.weights=random) and is not stored"
        todo = "runs of a pretrained model have their weights analysed"
        raise UserError(f"the base model {name} {drawn}; {todo}")
    places = [Path(name), runs.resolve().parent / name]
    with suppress(OSError, ValueError):  # an earlier download
        places.append(Path(snapshot_download(name, local_files_only=True)))
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        todo = "copy its folder here under this name, or analyse on the machine that trained"
        raise UserError(f"the base model {name} is not on this machine; {todo}")
    model = ModelConfig(name="local", path=str(folder), weights="pretrained")
    if model_fingerprint(model, seed=0, cache=cache) != fingerprint:
        raise UserError(
            f"{folder} is no longer the base model that was trained (its fingerprint differs); "
            "put that one back, or move the runs away and train again"
        )
    return folder
