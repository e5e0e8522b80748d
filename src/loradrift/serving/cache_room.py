"""Whether vLLM's cache of keys and values holds all requests that are asked for at a time."""

from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.generation.settings import text_config
from loradrift.serving.bases import Base
from loradrift.serving.config import ServingBenchmarkConfig

BLOCK = {"cpu": 128, "gpu": 16}
"""Tokens that vLLM reserves at a time."""

BYTES = {"float32": 4, "bfloat16": 2}
MB = 2**20

MOST_REQUESTS = {"batch_sizes": 256, "server.concurrency": 128}
"""Requests that vLLM answers at a time, by its own defaults where they are smallest."""


def check_cache(config: ServingBenchmarkConfig, base: Base) -> None:
    """Refuse batches of which vLLM would answer a part only, and have the others wait.

    Raises:
        UserError: If the cache is too small for one, or it has more requests than vLLM takes.
    """
    if config.engine == "hf":
        return
    serving, gpu = config.serving, config.trainer.accelerator == "gpu"
    asked = {"batch_sizes": max(serving.batch_sizes)} if config.engine == "vllm" else {}
    if serving.server.enabled:
        asked["server.concurrency"] = max(serving.server.concurrency)
    for key, count in asked.items():
        most = MOST_REQUESTS[key]
        if count > most:
            raise UserError(f"serving.{key} must be at most {most} for vLLM, got {count}")
    key, count = max(asked.items(), key=lambda each: each[1])
    each = token_bytes(text_config(Path(base.path)), serving.dtype)
    if each is None:
        return
    block, length = BLOCK["gpu" if gpu else "cpu"], serving.prompt_length + serving.max_tokens
    blocks = 1 + count * -(-length // block)  # one is vLLM's own
    needed = -(-blocks * block * each // MB)
    if serving.kv_cache_mb < needed:
        raise UserError(
            f"serving.kv_cache_mb must be at least {needed} for {count} requests at a time "
            f"(serving.{key}) of {length} tokens each (serving.prompt_length and "
            f"serving.max_tokens), got {serving.kv_cache_mb}"
        )


def token_bytes(config: dict[str, Any], dtype: str) -> int | None:
    """Bytes of a token's keys and values; None where ``config.json`` does not tell.

    >>> small = {"num_hidden_layers": 30, "num_attention_heads": 9, "hidden_size": 576}
    >>> token_bytes(small | {"num_key_value_heads": 3}, "float32")
    46080
    """

    def first(*keys: str) -> int:
        return next((int(config[key]) for key in keys if config.get(key)), 0)

    heads = first("num_attention_heads", "n_head")
    width = first("head_dim") or first("hidden_size", "n_embd") // max(heads, 1)
    layers = first("num_hidden_layers", "n_layer")
    return 2 * layers * (first("num_key_value_heads") or heads) * width * BYTES[dtype] or None
