"""What a study still lacks is named with a command that can be typed."""

import pandas as pd
import pytest

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypothesis_data import _missing


@pytest.mark.parametrize(
    ("overrides", "command"),
    [
        (
            "task.epochs=1",
            "`python train.py -m task=sst2 method=full_finetune,lora seed=2 task.epochs=1`",
        ),
        ("data.root=glue~40a947f2", "the command of its other seeds with seed=2"),
    ],
)
def test_a_shortened_override_is_not_offered_to_be_typed(overrides, command):
    rows = [("sst2", 1, overrides), ("rte", 1, overrides), ("rte", 2, overrides)]
    runs = pd.DataFrame(rows, columns=["task", "seed", "overrides"])
    assert _missing(Arms.of(), runs) == f"no pair of sst2 seed=2: {command} adds it"
