"""Every test here: bitmaps of few dots, CKA checked once."""

from functools import cache

import pytest

from loradrift.analysis.registry import make_config
from loradrift.analysis.self_check.tables import run_self_checks


@cache
def checked_once():
    return run_self_checks(["cka"], 0)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loradrift.report.style.DPI", 40)
        tables = "loradrift.analysis.frontier.tables"
        patch.setattr(f"{tables}.run_self_checks", lambda measures, seed: checked_once())
        yield


@pytest.fixture(scope="module")
def settings():
    """``settings(folder, **keys)`` is the configuration for the runs below a folder."""

    def make(folder, *, figures=(), **keys):
        places = {"runs": f"{folder}/runs", "results": f"{folder}/results"}
        return make_config("frontier", keys=keys, figures=[*figures], **places)

    return make
