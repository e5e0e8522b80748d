"""A search resumes only with the settings that it was created with, and these must be legal."""

import re

from searching import begun, search_here, trials


def test_a_study_of_another_space_is_refused(tmp_path):
    search_here(runs=tmp_path, n_trials=1)
    for changed, message in (
        (
            "method.optim.lr=tag(log,interval(1e-4,1e-1))",
            r"method.optim.lr: tag\(log,interval\(0.0001,0.01\)\) -> .*\(0.0001,0.1\)\)",
        ),
        ("method.rank=4", r"method.rank: 8 -> 4"),
        ("method.rank=choice(4,8)", r"method.rank: 8 -> choice\(4,8\)"),
        ("task.epochs=1", r"task.epochs: None -> 1"),
        ("hydra.sweeper.direction=minimize", "was created to maximize, and now is to minimize"),
    ):
        code, _, err = search_here(changed, runs=tmp_path, n_trials=2)
        assert code == 1 and "Traceback" not in err
        assert re.search(message, err), err
    assert len(trials(tmp_path)) == 1
    same = ("logger=wandb", "hydra.sweeper.pruner=none", "seed=0", "method.rank=8")
    code, _, err = search_here(*same, runs=tmp_path, n_trials=2)
    assert code == 0, err  # what only watches, or is so anyway, is no part of the search


def test_what_is_illegal_leaves_nothing_and_what_is_corrected_begins(tmp_path):
    wrong = ("method.rnak=choice(4,8)", "Could not override 'method.rnak'. .* mean: 'rank'?")
    code, out, err = search_here(wrong[0], "study.name='it\\'s'", runs=tmp_path, n_trials=1)
    assert code == 1 and re.search(wrong[1], err), err
    assert "begun" not in out and not (tmp_path / "begun.log").exists()
    corrected = ("method.rank=choice(4,8)", "study.name='it\\'s'")
    code, _, err = search_here(*corrected, runs=tmp_path, n_trials=1)
    assert code == 0, err
    assert "/it's.search/sst2/lora," in begun(tmp_path)[0][1]
