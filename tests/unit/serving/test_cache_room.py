"""A batch is one only where the cache of keys and values holds all of it."""

import json

import pytest

from loradrift.config import DataConfig, TrainerConfig, UserError
from loradrift.config.models import ModelConfig
from loradrift.serving.bases import Base
from loradrift.serving.cache_room import check_cache, token_bytes
from loradrift.serving.config import ServerConfig, ServingBenchmarkConfig, ServingConfig

SMOLLM2 = {
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "hidden_size": 576,
}  # fmt: skip
TINY = {"batch_sizes": [1, 4, 8], "max_tokens": 128, "prompt_length": 64}


@pytest.fixture
def base(tmp_path) -> Base:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    return Base("smollm2", str(tmp_path), "", 1, "")


def config_of(*, engine="vllm", accelerator="cpu", concurrency=(1, 4), **serving):
    return ServingBenchmarkConfig(
        engine=engine,
        model=ModelConfig(name="local", path="m"),
        data=DataConfig(name="embedded"),
        trainer=TrainerConfig(name="cpu", accelerator=accelerator),
        serving=ServingConfig(**TINY | serving, server=ServerConfig(concurrency=[*concurrency])),
    )


def rows_that_fit(mb: int, tokens: int) -> int:
    """Counted by hand: blocks of 128 tokens of 46,080 bytes, one of them vLLM's own."""
    return (mb * 2**20 // (128 * 46_080) - 1) // -(-tokens // 128)


def test_a_batch_that_waits_for_itself_is_refused_with_the_number_that_fits(base):
    assert rows_that_fit(64, 192) == 5
    rule = r"serving.kv_cache_mb must be at least (\d+) for 8 requests at a time \(serving.batch"
    with pytest.raises(UserError, match=rule) as caught:
        check_cache(config_of(), base)
    needed = int(str(caught.value).partition("at least ")[2].split()[0])
    assert rows_that_fit(needed, 192) == 8 and rows_that_fit(needed - 1, 192) < 8
    check_cache(config_of(kv_cache_mb=needed), base)
    check_cache(config_of(batch_sizes=[5]), base)


def test_clients_of_a_server_are_counted_too(base):
    with pytest.raises(UserError, match=r"for 6 requests at a time \(serving.server.concurrency"):
        check_cache(config_of(batch_sizes=[1], concurrency=[6]), base)
    check_cache(config_of(engine="vllm_server"), base)  # it has no batches
    check_cache(config_of(engine="hf"), base)
    check_cache(config_of(accelerator="gpu", dtype="bfloat16"), base)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"batch_sizes": [257]}, "serving.batch_sizes must be at most 256 for vLLM, got 257"),
        ({"concurrency": [129]}, "serving.server.concurrency must be at most 128 for vLLM"),
    ],
)
def test_vllm_takes_so_many_at_a_time(base, own, message):
    with pytest.raises(UserError, match=message):
        check_cache(config_of(kv_cache_mb=10**6, **own), base)


def test_bytes_of_a_token():
    assert token_bytes(SMOLLM2 | {"head_dim": 128}, "bfloat16") == 2 * 30 * 3 * 128 * 2
    assert token_bytes({"n_layer": 12, "n_head": 12, "n_embd": 768}, "float32") == 2 * 12 * 768 * 4
    assert token_bytes({"layers": 3}, "float32") is None
