"""Every test here: bitmaps of few dots, and fewer resamples."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loradrift.report.style.DPI", 40)
        patch.setattr("loradrift.analysis.steering_cells.resampled.draws.__defaults__", (400,))
        patch.setattr("loradrift.analysis.persona_projection.prediction.NUM_RESAMPLES", 400)
        yield
