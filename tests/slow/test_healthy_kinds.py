"""No false alarm: every kind of adapter, on every architecture."""

import pytest
from healthy_kinds import KINDS as OF_TEXTS
from healthy_kinds_of_senses import KINDS as OF_SENSES
from kind_cases import no_false_alarm

KINDS = OF_TEXTS | OF_SENSES
ALL = [(architecture, kind) for architecture, kinds in KINDS.items() for kind in kinds]


def test_there_are_many():
    assert len(ALL) >= 80
    assert len(KINDS) >= 8


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "kind"), ALL)
def test_no_false_alarm(architecture, kind, tmp_path):
    no_false_alarm(architecture, KINDS[architecture][kind], tmp_path)
