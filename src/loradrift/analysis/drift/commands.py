"""What has to be typed to train a run that is missing."""

import shlex
from pathlib import Path

from loradrift.analysis.drift.arms import OWN, Arm, Run, variant_of
from loradrift.config.keys import varies


def overrides(run: Run) -> str:
    """What another run like this one needs on the command line, without its method's overrides."""
    typed = [each for each in run.record.overrides if varies(each) and not each.startswith(OWN)]
    parts = [f"study.name={run.record.coordinates['study']}"]
    parts += ["best=true" if part.startswith("best=") else part for part in typed]
    runs = run.folder.parents[3]
    parts += [] if runs == Path("runs") else [f"runs={runs}"]
    return shlex.join(parts)


def command(arm: Arm, partner: Run) -> str:
    """What trains the arm's run that ``partner`` is compared with."""
    shared = [part for part in variant_of(partner.record) if not part.startswith(OWN)]
    own = [shlex.quote(part) for part in arm.overrides if part not in shared]
    place = f"task={partner.task} method={arm.method} seed={partner.seed}"
    return " ".join(["python train.py", place, *own, overrides(partner)])
