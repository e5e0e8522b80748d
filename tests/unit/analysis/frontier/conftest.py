"""Every test here makes its report quickly."""

import pytest
from quick_reports import quick_reports, settings_of


@pytest.fixture(scope="module", autouse=True)
def quick():
    with quick_reports("frontier"):
        yield


@pytest.fixture(scope="module")
def settings():
    return settings_of("frontier")
