"""Checkpoints that are whole, or the ones from before."""

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
