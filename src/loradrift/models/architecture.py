"""What a model folder says of itself, judged before anything large is read."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from loradrift.config import ModelConfig, UserError
from loradrift.config.errors import excerpt, refuse_pointer
from loradrift.files import read_json


def load_architecture(config: ModelConfig) -> Any:
    """The architecture of ``config.path``, as transformers reads it.

    Raises:
        UserError: If it cannot be read, is quantised, needs code of its own, or is of no kind that
            has a causal language model.
    """
    from transformers import AutoConfig, PreTrainedConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    here = f"model.path={config.path}"
    with reading(config, "config.json"):
        values, _ = PreTrainedConfig.get_config_dict(config.path)
        check_architecture(here, values)
        if values["model_type"] not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise UserError(
                f"{here} is no causal language model: model_type={values['model_type']} has none"
            )
        architecture = AutoConfig.from_pretrained(config.path, trust_remote_code=False)
        text = architecture.get_text_config()
        if (getattr(text, "pad_token_id", None) or 0) >= num_embeddings(architecture):
            text.pad_token_id = None  # needs no row; torch would refuse a place outside of them
    return architecture


@contextmanager
def reading(config: ModelConfig, files: str) -> Iterator[None]:
    """Turn whatever libraries raise over a model's files into a UserError that names them.

    What stands in a file is anybody's, and so is the exception that a wrong value ends in.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise unreadable_model(config, error, files) from None


def check_architecture(here: str, values: dict[str, Any]) -> None:
    """Judge what ``config.json`` holds; ``here`` is the key and the model, as typed.

    Raises:
        UserError: If it is quantised, needs code of its own, or is of no kind that is known.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if quantised := values.get("quantization_config"):
        method = quantised.get("quant_method", "?") if isinstance(quantised, dict) else quantised
        raise UserError(
            f"{here} is quantised (quantization_config: {excerpt(method)}): weights are trained "
            "and compared in full precision; give the model that it was made from"
        )
    kind = values.get("model_type")
    if isinstance(kind, str) and kind in CONFIG_MAPPING_NAMES:
        return
    if "auto_map" in values:
        raise UserError(
            f"{here} needs code of its own (auto_map in config.json), which is never run: give a "
            "model whose architecture transformers has itself"
        )
    raise UserError(
        f"{here}: its config.json has model_type={excerpt(kind)}, which transformers does not know "
        "in the version that is installed"
    )


def check_files(here: str, folder: Path) -> None:
    """Refuse a model folder whose files git-lfs has not fetched, or whose config.json holds none.

    Raises:
        UserError: If one is a pointer; names it and what fetches it.
    """
    for pattern in ("*.json", "*.safetensors", "*.model"):
        for path in sorted(folder.glob(pattern)):
            refuse_pointer(path, f"{here}: ")
    try:
        held = type(read_json(folder / "config.json")).__name__
    except ValueError as error:
        raise UserError(f"{here}: its config.json is no JSON: {excerpt(error)}") from None
    if held != "dict":
        raise UserError(f"{here}: its config.json must hold settings, {{key: value}}, got a {held}")


def check_surplus(here: str, model: nn.Module, surplus: Iterable[str]) -> None:
    """Refuse weights of a file for which the architecture has a place that is switched off.

    These are blocks beyond its depth, experts beyond their number, and biases that it is told to
    leave out. Others, such as buffers of an earlier version, belong to no place of it.

    Raises:
        UserError: If a weight would be dropped; names it.
    """
    modules = dict(model.named_modules())
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    modules |= {name.removeprefix(prefix): module for name, module in modules.items()}
    config = getattr(model, "config", None)
    # blocks that only speed up decoding
    extra = getattr(config, "num_nextn_predict_layers", 0) or 0
    for name in sorted(surplus):
        owner, _, last = name.rpartition(".")
        off = owner in modules and modules[owner]._parameters.get(last, model) is None
        for index in re.finditer(r"\.(\d+)\.", name):
            held = modules.get(name[: index.start()])
            if isinstance(held, nn.ModuleList):
                off |= int(index[1]) >= len(held) + extra
        if off:
            raise UserError(
                f"{here}: its weights hold {name}, for which the architecture in config.json has "
                "no place: part of the model would be lost; copy the model here again"
            )


def check_weights(here: str, model: nn.Module) -> None:
    """Refuse weights that are not finite.

    Raises:
        UserError: If one is NaN or infinite; names it.
    """
    for name, weights in model.named_parameters():
        # a sum takes no memory, and is finite unless a term is not, or many are near the limit
        if not weights.sum().isfinite() and not weights.isfinite().all():
            raise UserError(
                f"{here}: {name} holds NaN or infinity, so that nothing can be trained from it; "
                "copy the model here again"
            )


def num_embeddings(architecture: Any) -> int:
    """Rows of the embedding of tokens."""
    return int(architecture.get_text_config().vocab_size)


def num_positions(architecture: Any) -> int | None:
    """The longest row that the model takes; None if its architecture sets no limit."""
    positions = getattr(architecture.get_text_config(), "max_position_embeddings", None)
    return positions if positions is None or positions > 0 else None  # XLNet says -1


def check_vocabulary(here: str, tokenizer: Any, num_rows: int) -> None:
    """Refuse a tokenizer that turns text into tokens for which there is no embedding.

    Padding needs none (:func:`pad_token`), nor does a special token that no row begins or ends
    with: text never becomes one.

    Raises:
        UserError: If a token has no row; names it and both sizes.
    """
    added = tokenizer.added_tokens_decoder
    special = {id for id, token in added.items() if token.special}
    ends = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    needed = {getattr(tokenizer, end) for end in ends} - {None}
    needed |= set(tokenizer.get_vocab().values()) - special
    if lost := sorted(id for id in needed if id >= num_rows):
        token = excerpt(tokenizer.convert_ids_to_tokens(lost[0]))
        raise UserError(
            f"{here}: its tokenizer has {len(tokenizer)} tokens and its embedding {num_rows} rows, "
            f"none for {len(lost)} tokens such as {token} ({lost[0]}): give the model the "
            "tokenizer that it was trained with, or an embedding of that size"
        )


def pad_token(tokenizer: Any, num_rows: int) -> int:
    """A token to pad with: the tokenizer's own, or one that has a row; it is never attended to."""
    choices = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(id for id in choices if id is not None and id < num_rows)


def unreadable_model(config: ModelConfig, error: Exception, files: str = "files") -> UserError:
    """The error of a model whose ``files`` cannot be read, with what the user can do."""
    if config.attention == "sdpa" and "scaled_dot_product_attention" in str(error):
        return UserError(
            f"model.attention must be eager with model.path={config.path}: {str(error).split()[0]} "
            "has no scaled dot product attention (sdpa)"
        )
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    heading = len(lines) > 1 and lines[0].endswith(":")
    reason = excerpt(lines[heading] if lines else "")
    if not isinstance(error, OSError | ValueError | RuntimeError) and not heading:
        reason = f"{type(error).__name__} {reason}".rstrip()
    if "Couldn't instantiate the backend tokenizer" in str(error):
        reason = "it holds no tokenizer (tokenizer.json)"
    if "custom code" in reason:
        reason = (
            "it needs code of its own (auto_map), which is never run: give one whose architecture "
            "and tokenizer transformers has itself"
        )
    if Path(config.path).exists():
        return UserError(f"model.path={config.path} cannot be loaded: its {files}: {reason}")
    return UserError(
        f"model.path={config.path} is no local folder and cannot be had from the hub ({reason}); "
        f"without a network {config.without_network}"
    )
