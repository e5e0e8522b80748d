"""TinyLlama-1.1B's real architecture, with random weights, on the CPU."""

import pytest
from front_doors import output_of
from leavings import only

from loradrift.activations import ActivationStore

TYPED = (
    "model=tinyllama", "model.weights=random", "method=lora", "task.max_steps=6",
    "task.batch_size=4", "task.max_length=32", "trainer.gradient_checkpointing=true",
    "data.train_rows=100", "data.validation_rows=10", "callbacks.activation_dump.rows=8",
    "callbacks.activation_dump.every_n_steps=3", "callbacks.activation_dump.dtype=bfloat16",
)  # fmt: skip


@pytest.mark.slow
def test_tinyllama_trains_with_lora_and_dumps_22_layers_within_20_gib(shared, train, tmp_path):
    path = f"model.path={shared / 'tokenizers' / 'tinyllama'}"
    output_of(train(*TYPED, path, small=False, timeout=3000))
    folder, record = only(tmp_path / "runs")
    assert record["status"] == "success"
    assert 1.0e9 < record["parameters"]["total"] < 1.2e9
    assert record["parameters"]["trainable"] < 1e7
    assert record["performance"]["peak_memory_bytes"] < 20 * 2**30
    store = ActivationStore(folder / "activations")
    assert store.steps == [0, 3, 6] and len(store.layer_names) == 22
    first, last = store.read(0), store.read(6)
    assert first["layer_21"].shape == (8, 2048)
    assert (first["layer_21"] != last["layer_21"]).any()
