"""Where the rows come from, how the loop runs, and where its metrics go."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from loradrift.config.errors import check, check_option, check_positive, one_of
from loradrift.config.values import check_seed, path_field


@dataclass(kw_only=True)
class ScaleConfig:
    """One switch for the size of everything; tasks and methods take their defaults from it."""

    name: str = MISSING
    batch_size: int = 32
    """Rows per device and micro-batch."""

    epochs: float | None = None
    """Passes over the training rows; with ``max_steps`` too, whichever ends first."""

    max_steps: int | None = None
    """Optimizer steps."""

    passage_length: int = 384
    """Default tokens per row of tasks that read a paragraph."""

    passage_stride: int = 128
    """Default overlap of its windows, in tokens."""

    passage_question: int = 64
    """Default tokens of the question about it."""

    passage_steps: int | None = None
    """Default optimizer steps of these tasks."""

    adapter_rank: int = 8
    """Default rank of LoRA and its relatives."""

    adapter_alpha: float = 16.0
    """Default alpha of these."""

    full_finetune_lr: float = 2e-5
    """Default learning rate of full fine-tuning."""

    adapter_lr: float = 2e-4
    """Default learning rate of LoRA and its relatives."""

    full_finetune_lr_range: str = "tag(log,interval(1e-6,1e-4))"
    """Where a search looks for full fine-tuning's, in Hydra's sweep syntax."""

    adapter_lr_range: str = "tag(log,interval(5e-5,5e-3))"
    """Where a search looks for LoRA's."""

    head_lr: float = 2e-4
    """Default learning rate of the head, which is new under every method and learns alike."""

    def __post_init__(self) -> None:
        sizes = ("batch_size", "epochs", "max_steps", "passage_length", "passage_steps")
        own = ("adapter_rank", "adapter_alpha", "full_finetune_lr", "adapter_lr", "head_lr")
        check_positive(self, "scale", *sizes, *own)


@dataclass(kw_only=True)
class DataConfig:
    """Where the rows come from; its seed is separate from the run's."""

    name: str = MISSING
    """``embedded`` (generated), ``local`` (official files under ``root``) or ``hub``."""

    root: str = path_field("")
    """Folder of the official files (``data=local``)."""

    seed: int = 0
    """Draws the embedded corpora, the validation rows, the subset and the probe."""

    train_rows: int | None = None
    """Use this many training rows (after the validation rows are taken out); null uses all."""

    validation_rows: int = 500
    """Whole texts held out of the training split, with their pieces, to choose the best checkpoint;
    at most a tenth of them."""

    evaluation_split: str = "dev"
    """The reported split: ``dev``, or ``test`` where its labels are public."""

    def __post_init__(self) -> None:
        names = ("embedded", "local", "hub")
        check(self.name in names, "data.name", one_of(names), self.name)
        if self.name == "local":
            rule = "the folder of the official files with data=local"
            check(bool(self.root), "data.root", rule, repr(self.root))
        else:
            rule = f"left out with data={self.name}, which does not read it"
            check(not self.root, "data.root", rule, self.root)
        check_seed("data.seed", self.seed)
        check_positive(self, "data", "train_rows", "validation_rows")
        check_option(self, "data.evaluation_split", "dev", "test")


MOST_THREADS = 1024
"""No machine has more cores; each thread takes memory."""


CPU_FACTS = Path("/proc/cpuinfo")


def fast_precision(accelerator: str) -> str:
    """``${fast_precision:…}`` in ``conf/``: the ``trainer.precision`` that this machine is fast in.

    A CPU without instructions for bfloat16 takes four times as long in it as in float32.
    """
    if accelerator == "cpu":
        facts = CPU_FACTS.read_text(encoding="utf-8") if CPU_FACTS.exists() else ""
        if not re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", facts):
            return "32-true"
    return "bf16-mixed"


@dataclass(kw_only=True)
class TrainerConfig:
    """How the loop runs; every interval counts optimizer steps."""

    name: str = MISSING
    accelerator: str = "cpu"
    devices: int = 1
    """Processes, each with its own device and its own ``task.batch_size`` rows."""

    precision: str = "32-true"
    """``32-true`` or ``bf16-mixed`` (autocast). Master weights are fp32 with both."""

    accumulate: int = 1
    """Micro-batches per optimizer step."""

    gradient_clip: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""

    compile: bool = False
    """Compile the transformer with ``torch.compile``."""

    validate_every: int = 100
    checkpoint_every: int = 100
    log_every: int = 10
    guard_steps: int = 5
    """Steps within which every trainable parameter must have received a gradient."""

    threads: int | None = None
    """CPU threads of torch; null leaves torch's own choice."""

    rounding: int = 0
    """``n`` moves the first weights that train to neighbouring floating-point numbers, by the
    ``n``-th draw: the same run but for its rounding. 0 leaves them."""

    @property
    def sharded(self) -> bool:
        """Whether the processes divide the parameters among them (``trainer=fsdp``)."""
        return self.name == "fsdp"

    def __post_init__(self) -> None:
        check_option(self, "trainer.accelerator", "cpu", "gpu")
        rule = "32-true or bf16-mixed (pure bf16 weights lose small updates)"
        precision = self.precision
        check(precision in ("32-true", "bf16-mixed"), "trainer.precision", rule, precision)
        intervals = ("validate_every", "checkpoint_every", "log_every", "guard_steps")
        check_positive(self, "trainer", "devices", "accumulate", "threads", *intervals)
        threads, rule = self.threads, f"at most {MOST_THREADS:,}"
        check(threads is None or threads <= MOST_THREADS, "trainer.threads", rule, threads)
        if self.sharded:
            check(self.devices > 1, "trainer.devices", "at least 2 with fsdp", self.devices)
            check(not self.compile, "trainer.compile", "false with fsdp", self.compile)
        for key in ("gradient_clip", "rounding"):
            check(getattr(self, key) >= 0, f"trainer.{key}", "at least 0", getattr(self, key))


@dataclass(kw_only=True)
class LoggerConfig:
    """Where metrics go beside ``metrics.csv``, which is always written."""

    name: str = MISSING
    project: str = "loradrift"
    """W&B project."""

    entity: str | None = None
    """W&B entity."""

    tags: list[str] = field(default_factory=list)
    """W&B tags, beside task, method and scale."""

    def __post_init__(self) -> None:
        names = ("csv", "wandb", "tensorboard")
        check(self.name in names, "logger.name", one_of(names), self.name)
