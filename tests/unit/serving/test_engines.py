"""The order in which engines are opened."""

from contextlib import contextmanager

import pytest
from simulated import SimulatedEngine, make_plan

from loradrift.serving import engines


@pytest.mark.parametrize("adapters", [[1, 2, 4], [2]])
def test_what_only_the_first_start_with_lora_takes_is_in_no_arm_s_time(monkeypatch, adapters):
    opened = []

    @contextmanager
    def open_engine(settings):
        opened.append(settings)
        yield SimulatedEngine(settings, merged=None, overhead=1.0)

    monkeypatch.setattr(engines, "opener", lambda plan: open_engine)
    with engines.open_arms(make_plan(adapters=adapters)) as found:
        assert len(opened) == len(found) + 1
    assert opened[0].lora and opened[0].adapters  # it is none of the arms' own
