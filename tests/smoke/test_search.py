"""A search of real trainings through the front door."""

from functools import partial

import optuna
import pytest
from front_doors import output_of
from leavings import cells


@pytest.mark.parametrize(
    "trainer", [[], pytest.param(["trainer=ddp", "trainer.devices=2"], marks=pytest.mark.slow)]
)
def test_trials_report_their_validations_and_end_where_the_pruner_says(
    train, train_here, tmp_path, trainer
):
    """On two processes too: the first reports and asks, and both end at the same step."""
    typed = ["search=lora", "task=sst2", "-m", *trainer]
    typed += ["search.full_trials=1", f"results={tmp_path}/results"]
    search = partial(train, timeout=600) if trainer else train_here
    output_of(search(*typed, "hydra.sweeper.n_trials=1"))
    url = f"sqlite:///{tmp_path}/runs/.search/main.db"
    study = optuna.load_study(study_name="main/sst2/lora", storage=url)
    [trial] = study.trials
    [(name, record)] = cells(tmp_path / "runs").items()
    assert name.startswith("main.search/sst2/lora,") and record["status"] == "success"
    assert trial.user_attrs["cell"] == str(tmp_path / "runs" / name)
    assert trial.value == record["metrics"]["validation/accuracy"]
    assert list(trial.intermediate_values) == list(range(8, 21)), "from step 5 of 12 on"
    assert not (tmp_path / "runs" / name / "activations").exists(), "trials leave no dumps"
    assert not (tmp_path / "runs" / name / "predictions.jsonl").exists()
    assert not any(key.startswith("evaluation/") for key in record["metrics"]), "never looked at"

    better = dict.fromkeys(range(8, 21), 2.0)  # better than any trial can be
    drawn = {"params": trial.params, "distributions": trial.distributions}
    study.add_trial(optuna.create_trial(**drawn, intermediate_values=better, value=2.0))
    assert "1 of 1 runs pruned" in output_of(search(*typed, "hydra.sweeper.n_trials=3"))
    last = study.trials[-1]
    assert last.state.name == "PRUNED" and list(last.intermediate_values) == [8]
    [pruned] = [each for each in cells(tmp_path / "runs").values() if each["status"] == "pruned"]
    assert pruned["steps"] == 5 and pruned["error"].startswith("pruned at step 5, validation/acc")
    assert pruned["metrics"] == pytest.approx({"validation/accuracy": last.value})
