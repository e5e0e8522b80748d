"""``train.py`` whose training processes are forked: started anew, each would import torch again.

The tests in ``slow`` start them anew, as users do; that their arguments can be sent is seen here.
"""

import runpy
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

from torch.multiprocessing.spawn import start_processes

from loradrift.training import distributed


def forked(worker, args, start_method, **options):
    assert start_method == "spawn"
    ForkingPickler.dumps((worker, args))
    return start_processes(worker, args, start_method="fork", **options)


distributed.start_processes = forked
runpy.run_path(str(Path(__file__).parents[2] / "train.py"), run_name="__main__")
