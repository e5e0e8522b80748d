"""When a search is given up."""

import pytest
from optuna.trial import TrialState, create_trial

from loradrift.config import UserError
from loradrift.sweeping.completion import check_failures


def ended(number, **attributes):
    found = [create_trial(state=TrialState.COMPLETE, value=0.5)]
    return found + [
        create_trial(state=TrialState.FAIL, user_attrs=attributes) for _ in range(number)
    ]


def test_the_first_failures_are_no_share_of_what_has_run_so_far():
    check_failures("s", ended(1, error="nan")[1:], num_trials=10, max_failure_rate=0.8)
    check_failures("s", ended(8, error="nan"), num_trials=10, max_failure_rate=0.8)


def test_more_failures_than_may_be_are_the_end():
    message = r"s: 9 trials failed, more than .*max_failure_rate=0.8 of 10; the last: nan"
    with pytest.raises(UserError, match=message):
        check_failures("s", ended(9, error="nan"), num_trials=10, max_failure_rate=0.8)
    with pytest.raises(UserError, match="1 trials failed"):
        check_failures("s", ended(1, error="nan"), num_trials=10, max_failure_rate=0)


def test_so_are_many_that_were_killed():
    check_failures("s", ended(4), num_trials=2, max_failure_rate=1)
    with pytest.raises(UserError, match="s: 5 trials were killed, .* enough memory"):
        check_failures("s", ended(5), num_trials=2, max_failure_rate=1)
