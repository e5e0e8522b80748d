"""What each launcher can be told (``hydra.launcher.<key>=<value>``)."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass(kw_only=True)
class JoblibConfig:
    """Processes on this machine."""

    _target_: str = "loradrift.launching.processes.JoblibLauncher"
    n_jobs: int = -1
    """Jobs at a time; -1 is one for each CPU."""

    inner_max_num_threads: int | None = None
    """CPU threads of each; null divides the CPUs among them, unless OMP_NUM_THREADS says more."""


@dataclass(kw_only=True)
class SubmititConfig:
    """What a job needs, whoever runs it."""

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
