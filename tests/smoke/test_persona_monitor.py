"""The projection on directions is logged by a real run, which it changes in no bit."""

import pytest
from direction_cases import drawn_changes, write_direction
from leavings import metric_rows

from loradrift.adapters import read_adapter
from loradrift.cli.entry_point import quote_values
from loradrift.config import UserError
from loradrift.weights import project


@pytest.mark.end_to_end
@pytest.mark.parametrize("method", ["rslora", "full_finetune"])
def test_a_run_logs_its_projection_and_learns_the_same(compute, tmp_path, method):
    typed = ["task=sst2", f"method={method}", "seed=3"]
    alone, record = compute(*typed, runs=tmp_path / "alone")
    base = record.fingerprints["base_model"]
    changes = drawn_changes()
    write_direction(tmp_path / "main/kind/seed=1", changes=changes, fingerprint=base)
    key = "callbacks.persona_monitor"
    typed += [f"{key}.directions={tmp_path}/main", f"{key}.every_n_steps=5"]
    watched, _ = compute(*typed, runs=tmp_path / "watched")
    for path in alone.glob("model/*.safetensors"):
        assert path.read_bytes() == (watched / "model" / path.name).read_bytes()
    rows = {
        int(row["step"]): float(row["persona/kind/seed_1"])
        for row in metric_rows(watched)
        if row["persona/kind/seed_1"]
    }
    assert list(rows) == [0, 5, 10, 12] and rows[0] == 0
    if method == "rslora":  # the best checkpoint is one of the steps that are validated
        best = project(read_adapter(watched / "model"), changes).total.projection
        assert any(best == pytest.approx(value, rel=1e-4) for value in rows.values())


def test_a_direction_of_another_base_is_refused_before_training(compute, tmp_path):
    folder = write_direction(tmp_path / "seed=1")
    typed = ["train.py", f"callbacks.persona_monitor.directions={folder}"]
    quote_values(typed)  # the folder's name has a character of Hydra's in it
    with pytest.raises(UserError, match="a direction of one model is none of another"):
        compute(*typed[1:])


def test_sharded_weights_are_refused(configure):
    typed = ["trainer=fsdp", "trainer.devices=2", "callbacks.persona_monitor.directions=results"]
    message = "callbacks.persona_monitor.directions must be left out with trainer=fsdp"
    with pytest.raises(UserError, match=message):
        configure(*typed)
