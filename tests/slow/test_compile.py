"""``trainer.compile=true`` changes the speed, not the numbers; the dump still sees every layer."""

import pytest
from leavings import train_losses

from loradrift.activations import ActivationStore


@pytest.mark.slow
def test_a_compiled_run_is_the_eager_run_to_rounding(compute, tmp_path):
    curves, shapes = [], []
    for compiled in ("false", "true"):
        folder, _ = compute(f"trainer.compile={compiled}", runs=tmp_path / compiled)
        curves.append(train_losses(folder))
        last = ActivationStore(folder / "activations").read(12)
        shapes.append({name: tuple(x.shape) for name, x in last.items()})
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)
    assert shapes[0] == shapes[1]
