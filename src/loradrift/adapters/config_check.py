"""Whether the base in use computes what the stored base does: the same weights are not enough."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import nn

NO_EFFECT = re.compile(
    r".*(drop|init|token_id|suppress_tokens|loss|mask_(time|feature)|spec_augment|jitter).*"
    r"|use_cache|output_(attentions|hidden_states|router_logits)|pretraining_tp|num_negatives"
    r"|ctc_zero_infinity|contrastive_logits_temperature|vocab_size|router_aux.*"
)
"""Settings that cannot change what a model computes from its weights: of training, of generation,
of what else is returned; ``vocab_size`` is the weights' own."""

STRETCHED = ("dynamic", "llama3", "longrope", "yarn")
"""Rotary embeddings that depend on ``max_position_embeddings``."""


READ_UNDECLARED = {
    "is_causal": True,
    "position_buckets": None,
    "position_embedding_type": "absolute",
    "relative_attention": False,
    "use_bidirectional_attention": None,
}
"""Settings that transformers reads, with these defaults, of configurations that declare none."""


def config_difference(model: nn.Module, folder: Path) -> str | None:
    """The first setting of ``model`` that is not the one in ``folder``, in words.

    What the architecture's own configuration declares is compared, and what is read besides.
    Values are those that transformers reads, so that another spelling is no difference.
    """
    from transformers import AutoConfig, PreTrainedConfig

    live = getattr(model, "config", None)
    if not isinstance(live, PreTrainedConfig):
        return None
    try:
        stored = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception:  # whatever transformers raises of a folder that is no model of its own
        return None
    same = next((each for each in _nested(stored) if type(each) is type(live)), None)
    if same is None and not any(type(each) is type(stored) for each in _nested(live)):
        types = f"model_type={live.model_type}, and the stored base's {stored.model_type}"
        return f"its configuration has {types}"
    if same is None:
        return None
    padded = any(hasattr(x, "create_position_ids_from_input_ids") for x in model.modules())
    for key, value, wanted in _pairs(live, same, positions_by_padding=padded):
        if value != wanted:
            return f"its configuration has {key}={value}, and the stored base's {key}={wanted}"
    return None


def _nested(config: Any) -> Iterator[Any]:
    """A configuration, and those of its parts: a text model may be read out of a larger one."""
    yield config
    for key in getattr(type(config), "sub_configs", {}):
        if (part := getattr(config, key, None)) is not None:
            yield from _nested(part)


def _pairs(live: Any, stored: Any, *, positions_by_padding: bool) -> Iterator[tuple[str, Any, Any]]:
    """Key, value and stored value of each setting that could change an output."""
    from transformers import PreTrainedConfig

    general = {field.name for field in fields(PreTrainedConfig)}
    own = {x.name for x in fields(live)} if is_dataclass(live) else live.to_dict().keys()
    for key, default in READ_UNDECLARED.items():
        if key not in own:
            yield key, getattr(live, key, default), getattr(stored, key, default)
    rotary = repr(getattr(live, "rope_parameters", None))
    for key in sorted(own - general):
        value, wanted = getattr(live, key, None), getattr(stored, key, None)
        if isinstance(value, PreTrainedConfig) and isinstance(wanted, PreTrainedConfig):
            for part, *both in _pairs(value, wanted, positions_by_padding=positions_by_padding):
                yield f"{key}.{part}", *both
        elif key == "pad_token_id" and positions_by_padding:
            yield key, value, wanted
        elif key == "max_position_embeddings" and not any(x in rotary for x in STRETCHED):
            continue  # learned positions are weights, and plain rotary ones have no end
        elif not NO_EFFECT.fullmatch(key):
            yield key, _plain(value), _plain(wanted)


def _plain(value: Any) -> Any:
    """A value as JSON keeps it, where tuples are lists and a type is its name."""
    if isinstance(value, dict):
        return {str(key): _plain(x) for key, x in value.items()}
    return [_plain(x) for x in value] if isinstance(value, list | tuple) else value
