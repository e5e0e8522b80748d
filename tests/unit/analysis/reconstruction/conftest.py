"""Every test here makes its report quickly, with fewer resamples."""

import pytest
from quick_reports import quick_reports


@pytest.fixture(scope="module", autouse=True)
def quick():
    with quick_reports("reconstruction") as patch:
        patch.setattr("loradrift.statistics.clustered.Resampling.__init__.__defaults__", (800,))
        yield
