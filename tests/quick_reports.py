"""Reports that a test makes quickly: bitmaps of few dots, and CKA checked once for all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from loradrift.analysis.registry import make_config
from loradrift.analysis.self_check.tables import run_self_checks


@cache
def checked_once():
    return run_self_checks(["cka"], 0)


@contextmanager
def quick_reports(analysis: str) -> Iterator[pytest.MonkeyPatch]:
    """While the block runs, the analysis draws coarsely and does not check CKA again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loradrift.report.style.DPI", 40)
        tables = f"loradrift.analysis.{analysis}.tables"
        patch.setattr(f"{tables}.run_self_checks", lambda measures, seed: checked_once())
        yield patch


def settings_of(analysis: str):
    """``make(folder, **keys)`` is the configuration for the runs below a folder."""

    def make(folder, *, figures=(), **keys):
        places = {"runs": f"{folder}/runs", "results": f"{folder}/results"}
        return make_config(analysis, keys=keys, figures=[*figures], **places)

    return make
