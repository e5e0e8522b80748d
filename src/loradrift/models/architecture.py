"""What a model folder says of itself, judged before anything large is read."""

from pathlib import Path
from typing import Any

from torch import nn

from loradrift.config import ModelConfig, UserError
from loradrift.config.errors import excerpt, refuse_pointer


def load_architecture(config: ModelConfig) -> Any:
    """The architecture of ``config.path``, as transformers reads it.

    Raises:
        UserError: If it cannot be read, is quantised, needs code of its own, or is of no kind that
            has a causal language model.
    """
    from transformers import AutoConfig, PreTrainedConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    here = f"model.path={config.path}"
    try:
        values, _ = PreTrainedConfig.get_config_dict(config.path)
        check_architecture(here, values)
        if values["model_type"] not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise UserError(
                f"{here} is no causal language model: model_type={values['model_type']} has none"
            )
        architecture = AutoConfig.from_pretrained(config.path, trust_remote_code=False)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise unreadable_model(config, error) from None
    text = architecture.get_text_config()
    if (getattr(text, "pad_token_id", None) or 0) >= num_embeddings(architecture):
        text.pad_token_id = None  # it needs no row, and torch would refuse a place outside of them
    return architecture


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
    if kind in CONFIG_MAPPING_NAMES:
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
    """Refuse a model folder whose files git-lfs has not fetched.

    Raises:
        UserError: If one is a pointer; names it and what fetches it.
    """
    for pattern in ("*.json", "*.safetensors", "*.model"):
        for path in sorted(folder.glob(pattern)):
            refuse_pointer(path, f"{here}: ")


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


def unreadable_model(config: ModelConfig, error: Exception) -> UserError:
    """The error of a model that cannot be loaded, with what the user can do."""
    reason = excerpt(str(error).strip().split("\n")[0])
    if "custom code" in reason:
        reason = (
            "it needs code of its own (auto_map), which is never run: give one whose architecture "
            "and tokenizer transformers has itself"
        )
    if Path(config.path).exists():
        return UserError(f"model.path={config.path} cannot be loaded: {reason}")
    return UserError(
        f"model.path={config.path} is no local folder and cannot be had from the hub ({reason}); "
        "without a network use model=tiny, or model=local model.path=<folder>"
    )
