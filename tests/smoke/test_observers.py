"""What watches a run changes no bit of it, and goes on where the run was resumed."""

import pytest
from leavings import assert_same, failing_at_step, metric_rows

from loradrift.activations import ActivationStore
from loradrift.similarity import MEASURES

pytestmark = pytest.mark.end_to_end

ONLINE = "callbacks.online_drift.enabled=true"
NO_DUMP = "callbacks.activation_dump.enabled=false"
LOSSES = {"forgetting/loss_before", "forgetting/loss_after"}


def logged(folder):
    names = ("drift/layer_0", "drift/layer_1", "drift/mean")
    return {
        int(row["step"]): {name: float(row[name]) for name in names}
        for row in metric_rows(folder)
        if row["drift/mean"]
    }


@pytest.mark.parametrize(
    ("task", "method"), [("sst2", "lora"), ("sst2", "full_finetune"), ("squad_v2", "lora")]
)
def test_watching_changes_no_bit_of_what_is_learned(compute, tmp_path, task, method):
    typed = [f"task={task}", f"method={method}", "trainer.accumulate=2", "seed=5"]
    typed += ["method.dropout=0.2"] if method == "lora" else []
    typed += ["task.num_best=3"] if task == "squad_v2" else []
    watched, with_losses = compute(*typed, ONLINE, runs=tmp_path / "watched")
    off = (NO_DUMP, "callbacks.forgetting.enabled=false")
    alone, without = compute(*typed, *off, runs=tmp_path / "alone")
    assert (watched / "activations").is_dir() and not (alone / "activations").exists()
    assert set(with_losses.metrics) - set(without.metrics) == LOSSES
    files = {*alone.glob("model/*.safetensors"), *alone.glob("*.json*")} - {alone / "run.json"}
    assert len(files) >= {"sst2": 3, "squad_v2": 6}[task]
    for path in files:
        assert path.read_bytes() == (watched / path.relative_to(alone)).read_bytes(), path
    for one, other in zip(metric_rows(watched), metric_rows(alone), strict=True):
        assert other == {name: one[name] for name in other}


def test_drift_while_training_is_what_the_analysis_computes(compute, tmp_path):
    folder, _ = compute(ONLINE, runs=tmp_path / "dumped")
    store = ActivationStore(folder / "activations")
    found = logged(folder)
    assert list(found) == store.steps == [0, 4, 8, 12]
    for step, values in found.items():
        offline = [
            MEASURES["cka"].distance(store.read(0)[name], store.read(step)[name])
            for name in store.layer_names
        ]
        assert [*values.values()] == pytest.approx([*offline, sum(offline) / 2], abs=1e-5)
    alone, _ = compute(ONLINE, NO_DUMP, runs=tmp_path / "alone")
    assert not (alone / "activations").exists()
    assert logged(alone) == found


def test_a_resumed_run_has_the_same_losses_and_the_same_origin(compute, tmp_path, monkeypatch):
    typed = ("method.dropout=0.2", ONLINE, NO_DUMP)
    whole, expected = compute(*typed, runs=tmp_path / "whole")
    with failing_at_step(monkeypatch, 7):
        compute(*typed, runs=tmp_path / "resumed")
    resumed, record = compute(*typed, runs=tmp_path / "resumed")
    assert record.resumed == 1
    assert record.metrics == expected.metrics and set(record.metrics) >= LOSSES
    assert logged(resumed) == logged(whole)
    assert_same(whole, resumed)
