"""Sums that go on across processes."""

import time

from loradrift.callbacks.throughput import Throughput


def test_a_resumed_run_counts_the_time_of_the_process_before(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: 1000.0)
    first = Throughput(900.0)
    first.tokens, first.seconds = 50, 2.0
    second = Throughput(990.0)
    second.load_state_dict(first.state_dict())
    assert second.figures(1)["tokens_per_s"] == 25
    assert second.earlier_seconds == 100
    assert second.state_dict()["wall_seconds"] == 110
