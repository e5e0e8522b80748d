"""The best weights are those of the best validation, wherever the run goes on."""

from types import SimpleNamespace

import pytest

from loradrift.callbacks.best_checkpoint import BestCheckpoint


def validate(callback, scores):
    """The scores at which the callback saved."""
    saved = []
    for score in scores:
        trainer = SimpleNamespace(
            callback_metrics={"m": score},
            is_global_zero=True,
            save_checkpoint=lambda path, weights_only, s=score: (path.touch(), saved.append(s)),
        )
        callback.on_validation_end(trainer, None)
    return saved


@pytest.mark.parametrize(("higher", "saved"), [(True, [0.5, 0.7]), (False, [0.5, 0.4])])
def test_only_a_better_score_is_saved(tmp_path, higher, saved):
    callback = BestCheckpoint(tmp_path / "best.ckpt", "m", higher_is_better=higher, last_step=9)
    assert validate(callback, [0.5, 0.7, 0.7, 0.6, 0.4]) == saved
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_run_that_goes_on_elsewhere_remembers_its_best(tmp_path):
    first, elsewhere = (
        BestCheckpoint(folder / "best.ckpt", "m", higher_is_better=True, last_step=9)
        for folder in (tmp_path, tmp_path / "moved")
    )
    validate(first, [0.7])
    elsewhere.load_state_dict(first.state_dict())
    assert validate(elsewhere, [0.6]) == []
