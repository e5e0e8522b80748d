"""The cost model: hand-computed numbers, and what must not depend on the order of things."""

import numpy as np
import pytest

from loradrift.study.costs.rates import Point, Rates, Work, at, run_seconds, side_by_side

POINTS = [Point(100, 2.0), Point(300, 4.0), Point(400, 7.0)]


def counts(*values):
    return np.array(values, dtype=np.int64)


def test_a_run_is_the_sum_of_its_parts():
    work = Work(
        steps=counts(100, 200), updates=3, forwards=counts(50, 100, 150), neutral=counts(10, 10),
        written=4000, read_s=0.5,
    )  # fmt: skip
    rates = Rates(
        load_s=3.0, step=POINTS, update_s=0.1, forward=[Point(100, 1.0)], neutral_s=0.25,
        write_s=1e-3, finish_s=7.0, peak_bytes=1,
    )  # fmt: skip
    #        steps     updates forwards        neutral  ends
    wanted = 2.0 + 3.0 + 0.3 + 0.5 + 1.0 + 1.5 + 5.0 + 0.5 + 3.0 + 4.0 + 7.0
    assert run_seconds(work, rates) == pytest.approx(wanted)


def test_seconds_lie_on_the_lines_between_the_points_and_go_on_beyond_them():
    found = at(POINTS, counts(50, 100, 200, 350, 500))
    assert found.tolist() == pytest.approx([1.5, 2.0, 3.0, 5.5, 10.0])
    assert at(POINTS[:1], counts(50, 300)).tolist() == [1.0, 6.0]


def test_noise_in_the_points_makes_no_batch_free():
    steep = [Point(100, 1.0), Point(110, 3.0)]  # the line through both is below 0 at 90
    assert at(steep, counts(50)).tolist() == [0.5]
    falling = [Point(100, 3.0), Point(200, 1.0)]
    assert at(falling, counts(100, 150, 300)).tolist() == [3.0, 3.0, 3.0]


def test_cells_side_by_side_end_when_the_last_does():
    assert side_by_side([5.0] * 6, 2) == 15.0
    assert side_by_side([1.0, 1.0, 10.0], 2) == 11.0
    assert side_by_side([2.0, 3.0], 8) == 3.0
    assert side_by_side([2.0, 3.0], 1) == 5.0
    assert side_by_side([], 2) == 0.0
