"""The keys of judge=endpoint: an illegal value is named by its key."""

import pytest

from loradrift.config import UserError
from loradrift.judges.config import EndpointConfig


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": " "}, "judge.model must be the name of a model, got ' '"),
        ({"base_url": "localhost:8000"}, "judge.base_url must be an address that begins with http"),
        ({"base_url": "https://me:secret@host/v1"}, "it is written into records, got one with @"),
        ({"concurrency": 0}, "judge.concurrency must be positive, got 0"),
        ({"retries": -1}, "judge.retries must be at least 0, got -1"),
        ({"top_logprobs": 21}, "judge.top_logprobs must be between 1 and 20, got 21"),
        ({"input_price": 1.0}, "judge.input_price and judge.output_price must be given together"),
        ({"output_price": -1.0, "input_price": 1.0}, "judge.output_price must be at least 0"),
        ({"traits": ["kind", "kind"]}, "judge.traits must be different traits"),
    ],
)
def test_illegal_values_name_the_key(keys, message):
    with pytest.raises(UserError, match=message):
        EndpointConfig(name="endpoint", **{"model": "m", **keys})
