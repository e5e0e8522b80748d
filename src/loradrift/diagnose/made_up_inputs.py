"""A few rows of input for any model of transformers: known texts, or noise of the right shape."""

# Shape suffixes: B rows, T tokens.

import inspect
from typing import Any

import torch
from torch import Tensor

from loradrift.data.tokens import token_ids
from loradrift.diagnose.loaded_base import MAX_TOKENS, TEXTS

PIXELS = 64
"""Side of an image, of a model that takes any."""

KNOWN = 3
"""Tokens that even a text without a known word has: its beginning, its end and the unknown one."""

SAMPLES = 8000
"""Length of a sound: half a second."""


def made_up_inputs(base: str, model: Any) -> dict[str, Tensor]:
    """Name -> value of what the model's forward pass needs."""
    takes = inspect.signature(model.forward).parameters
    config, main = model.config, str(model.main_input_name)
    vision = getattr(config, "vision_config", config)
    if main == "input_ids":
        inputs = {main: _token_ids(base, config)}
        # a model of texts and images; one that generates text needs no image
        if vision is not config and "pixel_values" in takes and not model.can_generate():
            inputs["pixel_values"] = _noise(*_image(vision))
    elif main == "pixel_values":
        inputs = {main: _noise(*_image(vision))}
    else:
        inputs = {main: _noise(*_sound(main, config))}
    if config.is_encoder_decoder and "decoder_input_ids" in takes:
        if type(model).__name__.endswith("SequenceClassification"):  # it reads at the last token
            inputs["input_ids"][:, -1] = config.eos_token_id
        else:
            inputs["decoder_input_ids"] = torch.arange(4).repeat(len(TEXTS), 1)
    return inputs


def _noise(*shape: int) -> Tensor:
    return torch.randn(len(TEXTS), *shape, generator=torch.Generator().manual_seed(0))


def _image(config: Any) -> tuple[int, ...]:
    side = getattr(config, "image_size", None) or PIXELS
    height, width = side if isinstance(side, list | tuple) else (side, side)
    frames = (config.num_frames,) if hasattr(config, "num_frames") else ()
    return (*frames, getattr(config, "num_channels", 3), height, width)


def _sound(name: str, config: Any) -> tuple[int, ...]:
    """A waveform, or a spectrum as the model wants it."""
    bands = int(getattr(config, "num_mel_bins", 0) or 0)
    if name == "input_features" and hasattr(config, "max_source_positions"):
        return bands, 2 * config.max_source_positions
    if name == "input_features":
        return PIXELS, getattr(config, "feature_projection_input_dim", bands or 80)
    return (config.max_length, bands) if bands else (SAMPLES,)


def _token_ids(base: str, config: Any) -> Tensor:
    """The texts' tokens, cut to one length so that nothing is padded."""
    from transformers import AutoTokenizer

    count = int(config.get_text_config().vocab_size)
    rows: list[list[int]] = []
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        rows = token_ids(tokenizer, TEXTS)
    except Exception:  # whatever a tokenizer raises whose files are not here
        rows = []
    # without its files transformers may give a tokenizer that knows no word; any tokens will do
    if not (rows and all(len({*row}) > KNOWN and max(row) < count for row in rows)):
        tokens = range(1, 13 * MAX_TOKENS, 13)
        rows = [[(7 * i + token) % count for token in tokens] for i in range(len(TEXTS))]
    length = min(MAX_TOKENS, *map(len, rows))
    return torch.tensor([row[:length] for row in rows])
