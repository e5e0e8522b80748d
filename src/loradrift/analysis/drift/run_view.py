"""A finished run as the analysis sees it: what it is, what made it, and whether it is certified."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from loradrift.activations import ActivationStore
from loradrift.analysis.drift.arms import OWN, Arm, variant_of
from loradrift.config.keys import varies
from loradrift.runs import RunRecord, Status


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    folder: Path
    record: RunRecord
    arm: Arm | None = None
    """What it belongs to in a comparison."""

    @property
    def task(self) -> str:
        """Its task's name."""
        return str(self.record.coordinates["task"])

    @property
    def method(self) -> str:
        """Name of its arm: its ``method`` in every table."""
        assert self.arm is not None
        return self.arm.name

    @property
    def distance(self) -> int:
        """How far it is from what its arm's name spells."""
        assert self.arm is not None
        distance = self.arm.distance(self.record)
        assert distance is not None
        return distance

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.record.coordinates["seed"])

    @property
    def variant(self) -> str:
        """All that was overridden."""
        return ",".join(sorted(variant_of(self.record)))

    @property
    def store(self) -> ActivationStore:
        """Its activations."""
        return ActivationStore(self.folder / "activations")

    @property
    def trains_adapter(self) -> bool:
        """Whether it trained low-rank updates of frozen weights."""
        return "rank" in self.record.config.get("method", {})

    @property
    def dumped(self) -> bool:
        """Whether it finished and holds activations, as runs without training do not."""
        is_there = (self.folder / "activations" / "manifest.json").is_file()
        return is_there and self.record.status is Status.SUCCESS


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


def certified(run: Run) -> bool:
    """Whether a run trained no adapter, or has shown that its adapter was really applied."""
    certificate = run.record.certificate
    return not run.trains_adapter or bool(certificate and certificate.get("passed") is True)


def why_uncertified(record: RunRecord) -> str:
    """What is wrong with a run that is not :func:`certified`, and what fixes it."""
    again = "move it away, and its own command makes it again"
    if record.certificate is None:
        return f"no certificate that its adapter was applied (an earlier version made it); {again}"
    failed = [c["name"] for c in record.certificate.get("checks", []) if c.get("passed") is False]
    return f"its adapter's certificate does not hold ({', '.join(failed) or 'not judged'}); {again}"
