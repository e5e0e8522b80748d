"""Checkpoints that are whole, or the ones from before."""

import csv
import resource
import signal

import pytest
import torch

from loradrift.training.checkpoints import WholeCheckpoints, load_checkpoint


@pytest.fixture
def full_disk():
    """No file may grow beyond 100 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("numbers", [30_000, 10_000_000])
def test_a_full_disk_names_the_file_and_keeps_the_one_before(tmp_path, full_disk, numbers):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"global_step": 1}, path)
    with pytest.raises(OSError, match=r"File too large.*last\.ckpt"):
        WholeCheckpoints().save_checkpoint({"weights": torch.zeros(numbers)}, path)
    assert load_checkpoint(path) == {"global_step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_best_checkpoint_is_the_one_with_the_lowest_loss(compute):
    folder, record = compute("task=pretrain")
    with (folder / "metrics.csv").open() as file:
        rows = [row["validation/loss"] for row in csv.DictReader(file) if row["validation/loss"]]
    losses = list(map(float, rows))
    assert len(losses) == 3 and max(losses) > 1.001 * min(losses)
    assert record.metrics["validation/loss"] == pytest.approx(min(losses), rel=1e-5)
    assert record.higher_is_better is False and record.has_head is False
