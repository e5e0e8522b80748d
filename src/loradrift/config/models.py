"""Which backbone."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from loradrift.config.errors import check
from loradrift.config.methods import FromScratchConfig
from loradrift.config.tasks import PretrainConfig


@dataclass(kw_only=True)
class ModelConfig:
    """Which backbone: any Hugging Face causal language model by ``path``."""

    name: str = MISSING
    path: str = MISSING
    """A local folder or a hub name."""

    weights: str = "pretrained"
    """``pretrained``, or ``random`` for the architecture alone."""

    attention: str = "sdpa"
    """``sdpa`` (flash kernels where there is a GPU) or ``eager``."""

    def __post_init__(self) -> None:
        weights, attention = self.weights, self.attention
        check(weights in ("pretrained", "random"), "model.weights", "pretrained or random", weights)
        check(attention in ("sdpa", "eager"), "model.attention", "sdpa or eager", attention)


@dataclass(kw_only=True)
class PretrainingConfig:
    """The recipe of the small model's weights."""

    task: PretrainConfig = MISSING
    method: FromScratchConfig = MISSING
    seed: int = 0


@dataclass(kw_only=True)
class TinyModelConfig(ModelConfig):
    """A small Llama with its own tokenizer, pretrained here on first use."""

    path: str = ""
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
        check(
            self.hidden_size == 32 * self.num_heads,
            "model.hidden_size",
            "32 x model.num_heads (the head size that vLLM serves on a CPU)",
            self.hidden_size,
        )
        check(
            self.num_heads % self.num_kv_heads == 0,
            "model.num_kv_heads",
            f"a divisor of model.num_heads={self.num_heads}",
            self.num_kv_heads,
        )
