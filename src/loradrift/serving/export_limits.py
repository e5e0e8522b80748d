"""What vLLM takes as an adapter beside others; measured with vLLM 0.32, and refused by it by name.

The adapter's factors may belong to linear layers and, with some models, the embedding and the
output head, with ``rank_pattern``, ``alpha_pattern`` and rsLoRA: its logits are then PEFT's to
1e-5.
"""

from pathlib import Path

from loradrift.adapters import AdapterFiles
from loradrift.config.benchmarks import RANKS
from loradrift.generation.vllm_rules import HEADS, why_not_wide

LARGEST_RANK = RANKS[-1]

SETTINGS = (
    "alora_invocation_tokens", "layer_replication", "lora_bias", "trainable_token_indices",
    "use_bdlora", "use_dora", "use_qalora",
)  # fmt: skip
"""Settings of PEFT that vLLM refuses."""


def largest_rank(files: AdapterFiles) -> int:
    """The largest rank of any module: what ``max_lora_rank`` has to hold."""
    return max(files.rank(module) for module in files.parts)


def why_not_beside(files: AdapterFiles, base: Path) -> str | None:
    """Why vLLM does not serve the adapter beside others on ``base``; None where it does."""
    config = files.config
    if config.get("use_dora"):
        return "it is DoRA, which vLLM does not serve beside other adapters"
    if setting := next((key for key in SETTINGS if config.get(key)), None):
        return f"vLLM does not serve adapters with {setting}"
    if (bias := config.get("bias") or "none") != "none":
        return f"vLLM does not serve adapters with trained biases (bias={bias})"
    if saved := [name for name in config.get("modules_to_save") or [] if name not in HEADS]:
        return f"vLLM does not serve adapters with saved modules (modules_to_save={saved[0]})"
    if (rank := largest_rank(files)) > LARGEST_RANK:
        return f"its rank {rank} is above {LARGEST_RANK}, the largest that vLLM serves"
    return why_not_wide(files, base)
