"""Every test here: bitmaps of few dots, fewer resamples, CKA checked once."""

from functools import cache

import pytest

from loradrift.analysis.self_check.tables import run_self_checks


@cache
def checked_once():
    return run_self_checks(["cka"], 0)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loradrift.report.style.DPI", 40)
        patch.setattr("loradrift.statistics.clustered.Resampling.__init__.__defaults__", (800,))
        tables = "loradrift.analysis.reconstruction.tables"
        patch.setattr(f"{tables}.run_self_checks", lambda measures, seed: checked_once())
        yield
