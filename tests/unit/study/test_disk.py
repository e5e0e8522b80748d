"""What a study writes, against what a run really leaves."""

from dataclasses import replace

import pytest

from loradrift.config import UserError
from loradrift.study import disk


def size(*paths):
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


@pytest.mark.parametrize("method", [["method=full_finetune"], ["method=lora", "method.rank=32"]])
def test_the_estimate_is_what_a_run_leaves(compute, configure, method):
    typed = (*method, "task.max_steps=3", "callbacks.activation_dump.rows=256")
    folder, _ = compute(*typed, "callbacks.forgetting.enabled=false")
    weights, activations, resume_point = disk.run_sizes(configure(*typed))
    model = next((folder / "model").glob("*model.safetensors"))
    checkpoints = folder / "checkpoints"
    assert weights == pytest.approx(size(model, checkpoints / "best.ckpt"), rel=0.25)
    assert activations == pytest.approx(size(*folder.glob("activations/step=*")), rel=0.1)
    assert resume_point == pytest.approx(2 * size(checkpoints / "last.ckpt"), rel=0.25)


def test_a_study_that_does_not_fit_is_refused_with_figures(load, monkeypatch, tmp_path):
    sizes = disk.Sizes(weights=3 * 2**30, activations=2**20, resume_point=2**30)
    monkeypatch.setattr(disk, "run_sizes", lambda config: sizes)
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 7 * 2**30)
    runs = [replace(load(), seed=seed) for seed in (1, 2)]
    disk.check_disk(tmp_path, disk.study_sizes(runs[:1], 1), "drift")
    message = (
        r"study=drift needs about 8.0 GiB below .* \(6.0 GiB of weights, 2.0 MiB of activations, "
        r"2.0 GiB of checkpoints to resume from\), and 7.0 GiB are free; fewer seeds"
    )
    with pytest.raises(UserError, match=message):
        disk.check_disk(tmp_path, disk.study_sizes(runs, 2), "drift")


def test_epochs_count_steps_by_the_rows(load, cache):
    whole = load("task.max_steps=null", "task.epochs=2", "data.train_rows=640", f"cache={cache}")
    assert disk.num_steps(whole) == 2 * 640 // 32


def test_free_space_is_that_of_the_folder_to_be(tmp_path):
    there = pytest.approx(disk.free_bytes(tmp_path), rel=0.01)
    assert disk.free_bytes(tmp_path / "not" / "yet") == there
