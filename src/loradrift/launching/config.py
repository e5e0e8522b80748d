"""What each launcher can be told (``hydra.launcher.<key>=<value>``)."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from loradrift.config import check


@dataclass(kw_only=True)
class JoblibConfig:
    """Processes on this machine."""

    _target_: str = "loradrift.launching.processes.JoblibLauncher"
    n_jobs: int | None = None
    """Jobs at a time; null is one on a GPU, else one for each CPU or ``trainer.devices`` of them.
    -1 is one for each CPU, whatever the job needs."""

    inner_max_num_threads: int | None = None
    """CPU threads of each; null divides the CPUs among them, unless OMP_NUM_THREADS says more."""


@dataclass(kw_only=True)
class SubmititConfig:
    """What a job needs under any scheduler."""

    _target_: str = MISSING
    timeout_min: int = 60
    """Longest time of a job, in minutes."""

    signal_delay_s: int = 120
    """Seconds before its time is up at which a job is told: it saves, and is requeued."""

    max_num_timeout: int = 20
    """How often a job is requeued because its time was up; pre-emptions are not counted."""

    gpus_per_node: int = 0


@dataclass(kw_only=True)
class LocalConfig(SubmititConfig):
    """Processes on this machine, all at once: ``hydra.sweeper.max_batch_size`` limits them."""

    _target_: str = "loradrift.launching.scheduler.LocalLauncher"
    signal_delay_s: int = 30


@dataclass(kw_only=True)
class SlurmConfig(SubmititConfig):
    """Jobs of a SLURM cluster; nulls leave it to the cluster."""

    _target_: str = "loradrift.launching.scheduler.SlurmLauncher"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus_per_task: int | None = None
    mem_gb: int | None = None
    array_parallelism: int = 256
    """Jobs at a time."""

    setup: list[str] = field(default_factory=list)
    """Shell lines before the job, as ``module load cuda``."""

    python: str | None = None
    """Python of the job; null takes the one that submits."""

    additional_parameters: dict[str, Any] = field(default_factory=dict)
    """Any other option of sbatch, as ``{"mail-type": END}``."""


SCHEMAS = {"joblib": JoblibConfig, "submitit_local": LocalConfig, "submitit_slurm": SlurmConfig}


def validate_settings(settings: dict[str, Any]) -> None:
    """Refuse what no launcher can do; Hydra has judged the types alone."""
    for name, value in settings.items():
        key = f"hydra.launcher.{name}"
        if name == "n_jobs":
            check(value != 0, key, "positive, or -1 for one job per CPU", value)
        elif name in ("max_num_timeout", "gpus_per_node"):
            check(value >= 0, key, "at least 0", value)
        elif isinstance(value, int):
            check(value > 0, key, "positive", value)
    if "signal_delay_s" in settings:
        rule = f"less than the hydra.launcher.timeout_min={settings['timeout_min']} minutes"
        delay = settings["signal_delay_s"]
        check(delay < 60 * settings["timeout_min"], "hydra.launcher.signal_delay_s", rule, delay)
