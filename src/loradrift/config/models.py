"""Which backbone."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from loradrift.config.errors import check, check_option
from loradrift.config.methods import FromScratchConfig
from loradrift.config.tasks import PretrainConfig
from loradrift.config.values import check_seed, path_field


@dataclass(kw_only=True)
class ModelConfig:
    """Which backbone: any Hugging Face causal language model by ``path``."""

    name: str = MISSING
    path: str = path_field(MISSING)
    """A local folder or a hub name."""

    weights: str = "pretrained"
    """``pretrained``, or ``random`` for the architecture alone."""

    attention: str = "sdpa"
    """``sdpa`` (flash kernels where there is a GPU) or ``eager``."""

    def __post_init__(self) -> None:
        check_option(self, "model.weights", "pretrained", "random")
        check_option(self, "model.attention", "sdpa", "eager")


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
