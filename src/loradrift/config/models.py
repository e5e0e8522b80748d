"""Which backbone."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from omegaconf import MISSING

from loradrift.config.errors import check, check_option
from loradrift.config.methods import FromScratchConfig
from loradrift.config.tasks import PretrainConfig
from loradrift.config.values import check_seed, path_field


@dataclass(kw_only=True)
class ModelConfig:
    """Which backbone: any Hugging Face causal language model by ``path``."""

    name: str = MISSING
    path: str = path_field(MISSING, kind="folder or hub name of a model")
    """A local folder or a hub name."""

    weights: str = "pretrained"
    """``pretrained``, or ``random`` for the architecture alone."""

    attention: str = "sdpa"
    """``sdpa`` (flash kernels where there is a GPU) or ``eager``."""

    without_network: ClassVar[str] = "use model=tiny, or model=local model.path=<folder>"
    """What helps where the hub cannot be reached."""

    def __post_init__(self) -> None:
        check_option(self, "model.weights", "pretrained", "random")
        check_option(self, "model.attention", "sdpa", "eager")

    def located(self, cache: Path) -> "ModelConfig":
        """The same model with what depends on the files that this machine has."""
        return self


SMOLLM2_COPY = Path("models", "smollm2-135m")
"""Where ``make smollm2`` writes, below the cache."""


@dataclass(kw_only=True)
class SmolLM2Config(ModelConfig):
    """SmolLM2-135M-Instruct: the hub's weights, or the copy that needs no hub."""

    path: str = path_field("")
    """Filled in at the door: the copy's folder if it is there, else the hub's name. A path that is
    typed takes precedence."""

    copy: str = ""
    """Filled in at the door: ``hub``, ``dequantised`` (of 4-bit weights, by ``make smollm2``), or
    ``typed`` for a path that was typed."""

    without_network: ClassVar[str] = "`make smollm2` makes a copy that needs no hub"

    def located(self, cache: Path) -> ModelConfig:
        """With ``path`` and ``copy``.

        Raises:
            UserError: If ``copy`` was typed.
        """
        check(not self.copy, "model.copy", "left out: it follows from what is there", self.copy)
        if self.path:
            return replace(self, copy="typed")
        folder = cache / SMOLLM2_COPY
        if (folder / "config.json").is_file():
            return replace(self, path=str(folder), copy="dequantised")
        return replace(self, path="HuggingFaceTB/SmolLM2-135M-Instruct", copy="hub")


@dataclass(kw_only=True)
class PretrainingConfig:
    """The recipe of the small model's weights."""

    task: PretrainConfig = MISSING
    method: FromScratchConfig = MISSING
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed("model.pretraining.seed", self.seed)


@dataclass(kw_only=True)
class TinyModelConfig(ModelConfig):
    """A small Llama with its own tokenizer, pretrained here on first use."""

    path: str = path_field("")
    """Filled in by the program: where the pretrained weights are cached."""

    vocab_size: int = 2048
    hidden_size: int = 128
    intermediate_size: int = 352
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int = 2
    max_positions: int = 512
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(not self.path, "model.path", "left out with model=tiny", self.path)
        width, heads, groups = self.hidden_size, self.num_heads, self.num_kv_heads
        rule = "32 x model.num_heads (the head size that vLLM serves on a CPU)"
        check(width == 32 * heads, "model.hidden_size", rule, width)
        rule = f"a divisor of model.num_heads={heads}"
        check(heads % groups == 0, "model.num_kv_heads", rule, groups)
