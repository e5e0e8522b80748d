"""What becomes of an error in one of several training processes."""

import pytest
from torch.multiprocessing.spawn import ProcessRaisedException

from loradrift.sweeping.storage import StorageUnusable
from loradrift.training.distributed import _join


def test_a_training_process_hands_on_what_kind_of_error_ended_it():
    class Processes:
        def join(self):
            trace = "Traceback\n\nloradrift.sweeping.storage.StorageUnusable: storage=x: is locked"
            raise ProcessRaisedException(trace, 0, 7)

    with pytest.raises(StorageUnusable, match=r"^storage=x: is locked$"):
        _join(Processes())
