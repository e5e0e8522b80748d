"""Where an adapter and its base model are, and how one gets onto the other, key by key."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from loradrift.config import ModelConfig, UserError
from loradrift.models import Backbone, load_backbone, load_tokenizer, model_fingerprint
from loradrift.runs import read_record
from loradrift.weights.stored import finite, opened, read_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


class Source(NamedTuple):
    """What to load."""

    adapter: Path
    """Folder with :data:`CONFIG` and :data:`WEIGHTS`."""

    base: str
    """Folder or hub name of the base model."""

    fingerprint: str | None
    """Of the base model, where a run recorded it and the user names no other."""


def find_adapter(adapter: str, base: str | None) -> Source:
    """Find both models.

    Args:
        adapter: Folder of a PEFT adapter, or of a run, whose adapter is in ``model/``.
        base: The base model; None is the run's ``model.path``, or what the adapter names.

    Raises:
        UserError: If the folder holds no adapter, or nothing names a base model.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        raise UserError(f"adapter={adapter} is no folder")
    record = read_record(folder)
    folder = folder if record is None else folder / "model"
    if not (folder / CONFIG).is_file():
        why = f": the run's method is {record.coordinates['method']}" if record else ""
        if record and not folder.is_dir():
            why = f": the run's status is {record.status}"
        raise UserError(f"adapter={adapter} holds no adapter ({folder / CONFIG} is missing){why}")
    if base is not None:
        return Source(folder, base, None)
    # A run of model=tiny has no path: its weights are in the cache, and the adapter says where.
    recorded = record.config["model"] if record else {}
    name = recorded.get("path") or read_json(folder / CONFIG).get("base_model_name_or_path")
    if recorded.get("weights") == "random":
        raise UserError(
            f"adapter={adapter}: its base model was drawn at random (model.weights=random) and is "
            "not stored; no adapter can be compared with it"
        )
    if not name:
        raise UserError(f"{folder / CONFIG} names no base model: give base=<folder or hub name>")
    return Source(folder, str(name), record.fingerprints.get("base_model") if record else None)


def load_base(source: Source, cache: Path) -> tuple[Backbone, Any]:
    """The base model, which is the one that the run trained on if there is a run; its tokenizer.

    Args:
        source: Names it.
        cache: Remembers the files' digests.

    Raises:
        UserError: If there is no such model, or another is in its place now.
    """
    name = source.base
    model = ModelConfig(name="local", path=name)
    try:
        tokenizer = load_tokenizer(model)
        known = source.fingerprint is not None
        digest = model_fingerprint(model, seed=0, cache=cache) if known else None
        backbone = load_backbone(model, seed=0)
    except UserError as error:
        if Path(name).is_dir():
            raise UserError(str(error).replace("model.path=", "base=", 1)) from None
        raise UserError(
            f"the base model {name} is no folder here and cannot be had from the hub; "
            "give base=<folder>"
        ) from error
    if digest != source.fingerprint:
        raise UserError(
            f"{name} is not the model that the run trained on (its fingerprint differs); give "
            "base=<folder> of that one, or of this one if it is meant"
        )
    return backbone, tokenizer


def load_adapter(backbone: Backbone, folder: Path) -> None:
    """Put an adapter on the language model, or on its decoder if it was saved from there, in place.

    Args:
        backbone: Without an adapter.
        folder: With :data:`CONFIG` and :data:`WEIGHTS`.

    Raises:
        UserError: If a file is damaged or a pickle, if a key of the file has no place in the
            model or a place no key, or if shapes differ.
    """
    from peft import PeftConfig, PeftModel, set_peft_model_state_dict

    path = folder / WEIGHTS
    stored = _read(path)
    peft_type = read_json(folder / CONFIG).get("peft_type")
    try:
        config = PeftConfig.from_pretrained(str(folder))
        if config.is_prompt_learning:
            raise ValueError(f"peft_type={peft_type} changes the input, not the layers")
        config.inference_mode = True
        adapted = PeftModel(_target(backbone, stored), config)
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{folder / CONFIG} does not fit the base model: {reason}") from error
    _check_coverage(path, stored, adapted)
    rest = set_peft_model_state_dict(adapted, stored).unexpected_keys
    if rest:
        raise UserError(f"{path}: PEFT found no place for {rest[0]}")


def _read(path: Path) -> dict[str, Tensor]:
    pickle = path.with_suffix(".bin")
    if not path.is_file() and pickle.exists():
        raise UserError(f"{pickle} is a pickle, which can run code and is not loaded")
    with opened(path) as file:
        stored: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key, tensor in stored.items():
        finite(tensor, path, key)
    return stored


def _target(backbone: Backbone, stored: dict[str, Tensor]) -> nn.Module:
    """What PEFT was put on when the adapter was saved: models of the hub name it differently."""
    lm: nn.Module = backbone.causal_lm
    decoder: nn.Module = backbone.decoder
    inner = next(name for name, module in lm.named_modules() if module is decoder)
    return lm if any(key.startswith(f"base_model.model.{inner}.") for key in stored) else decoder


def _check_coverage(path: Path, stored: dict[str, Tensor], adapted: nn.Module) -> None:
    from peft import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    # An adapter may bring the embeddings along, and need not.
    known = wanted | get_peft_model_state_dict(adapted, save_embedding_layers=True)
    if strange := sorted(stored.keys() - known.keys()):
        raise UserError(f"{path} holds {_some(strange)}, which has no place in the base model")
    if missing := sorted(wanted.keys() - stored.keys()):
        raise UserError(f"{path} lacks {_some(missing)}, which {CONFIG} promises")
    for key, tensor in stored.items():
        if tensor.shape != known[key].shape:
            raise UserError(
                f"{path}: {key} has shape {tuple(tensor.shape)}, and the base model and {CONFIG} "
                f"make it {tuple(known[key].shape)}"
            )


def _some(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
