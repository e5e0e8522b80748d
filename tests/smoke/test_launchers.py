"""A multirun whose jobs run in another process."""

import re

from front_doors import output_of
from leavings import cells


def test_jobs_in_another_process_are_in_the_closing_table(train_here, tmp_path):
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    said = output_of(train_here("method=majority", "-m", "seed=1,2", *launcher))
    assert re.search(r"sst2\s.*majority\s.*1,2\s.*accuracy", said)
    assert [record["status"] for record in cells(tmp_path / "runs").values()] == ["success"] * 2
