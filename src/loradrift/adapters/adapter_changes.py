"""An adapter as changes of a base model's weights: for those that are nothing else."""

from pathlib import Path

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import MAGNITUDE, WEIGHTS, AdapterFiles, read_files
from loradrift.adapters.file_checks import lone_factor, misfit, other_shape
from loradrift.adapters.starts import takes_from_base
from loradrift.config import UserError
from loradrift.weights import Dora, LowRank, StoredWeights


def read_adapter(folder: Path, base: StoredWeights | None = None) -> dict[str, LowRank | Dora]:
    """The changes of a PEFT LoRA adapter, by the names of ``base``, which DoRA needs.

    Raises:
        UserError: If a file is absent or damaged, if factors are missing or do not fit, or if the
            factors are not the whole change.

    Example:
        >>> read_adapter(Path("nowhere"))
        Traceback (most recent call last):
        loradrift.config.errors.UserError: nowhere is no adapter: it has no adapter_config.json
    """
    return changes_of(read_files(folder), base)


def changes_of(files: AdapterFiles, base: StoredWeights | None = None) -> dict[str, LowRank | Dora]:
    """The changes of an adapter whose files have been read; see :func:`read_adapter`."""
    _check_whole_change(files)
    folder = files.folder
    changes: dict[str, LowRank | Dora] = {}
    for module, parts in files.parts.items():
        factors, key = files.factors(module), f"{module}.weight"
        assert factors is not None
        key = base.find(key) if base else key
        name, change = key.removesuffix(".weight"), factors.low_rank
        changes[name] = change
        shape = base.matrix_shape(key) if base else None
        if base is not None and shape != tuple(change.shape):
            what = other_shape(module, change.shape, shape or "none", str(base.folder))
            raise UserError(f"{folder / WEIGHTS}: {what}")
        if MAGNITUDE in parts:
            if base is None:
                raise UserError(
                    f"{folder} was trained with use_dora=true: its magnitudes rescale the rows of "
                    "the base weight as well, so the factors are not the whole change; give the "
                    "base model's weights"
                )
            changes[name] = Dora(base, key, change, parts[MAGNITUDE])
    return changes


def _check_whole_change(files: AdapterFiles) -> None:
    """Refuse an adapter whose change is more than its factors, or is not all there."""
    config, path = files.config, files.folder / CONFIG
    if odd := files.not_plain:
        what = f"{odd}={config[odd]} makes the change another one than scale * B A"
        raise UserError(f"{path}: {what}: not supported")
    if why := takes_from_base(files):
        raise UserError(why)
    others = [
        f"{module}.{part}"
        for module, parts in files.parts.items()
        for part in parts
        if "embedding" in part or "bias" in part
    ]
    for key in (*files.saved, *others):
        raise UserError(
            f"{files.folder / WEIGHTS} holds {key}, which is no LoRA factor of a linear layer: the "
            "factors would not be the whole change"
        )
    problems = (misfit(files, module) for module in files.parts)
    if problem := next(filter(None, problems), None) or lone_factor(files):
        raise UserError(f"{files.folder}: {problem}")
