"""Tiny random models of many architectures, and one batch of input for each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
TEXT = SIZE | {"intermediate_size": 64, "pad_token_id": 3, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = TEXT | {"num_key_value_heads": 1}
SPEECH = SIZE | {
    "conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 8), "intermediate_size": 64,
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
WHISPER = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "vocab_size": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    "num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16, "pad_token_id": 3,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
BART = {
    key: x for key, x in WHISPER.items() if key[:4] not in ("num_", "max_")
} | {"max_position_embeddings": 32}  # fmt: skip
T5 = {"d_model": 32, "d_kv": 16, "num_layers": 2, "num_heads": 2, "d_ff": 64, "vocab_size": 64,
      "decoder_start_token_id": 0}  # fmt: skip
MOE = LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def tokens() -> dict[str, Tensor]:
    return {"input_ids": torch.tensor([[1, 40, 41, 42, 43, 44], [1, 50, 51, 52, 53, 54]])}


def translated() -> dict[str, Tensor]:
    return tokens() | {"decoder_input_ids": torch.tensor([[1, 30, 31], [1, 32, 33]])}


def image() -> dict[str, Tensor]:
    return {"pixel_values": draw(2, 3, 16, 16)}


def video() -> dict[str, Tensor]:
    return {"pixel_values": draw(2, 4, 3, 16, 16)}


def sound() -> dict[str, Tensor]:
    return {"input_values": draw(2, 400)}


def spectrum() -> dict[str, Tensor]:
    return {"input_features": draw(2, 8, 32), "decoder_input_ids": torch.tensor([[1, 30], [1, 31]])}


@dataclass(frozen=True)
class Architecture:
    """A family of transformers, in small."""

    family: str
    head: str
    """Class of transformers that is trained by default."""

    options: dict[str, Any]
    inputs: Callable[[], dict[str, Tensor]] = tokens
    targets: list[str] = field(default_factory=lambda: ["q_proj", "v_proj"])

    def write(self, folder: Path, head: str = "") -> Path:
        """Save a random model of this family."""
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(self.family, **self.options)
        getattr(transformers, head or self.head)._from_config(config).save_pretrained(folder)
        return folder


BERT = ["query", "value"]
ARCHITECTURES = {
    "llama": Architecture("llama", "LlamaForCausalLM", LLAMA),
    "llama tied": Architecture("llama", "LlamaForCausalLM", LLAMA | {"tie_word_embeddings": True}),
    "llama biases": Architecture(
        "llama", "LlamaForCausalLM", LLAMA | {"attention_bias": True, "mlp_bias": True}
    ),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM", LLAMA | {"head_dim": 16}),
    "gemma2": Architecture("gemma2", "Gemma2ForCausalLM", LLAMA | {"head_dim": 16}),
    "gpt2": Architecture("gpt2", "GPT2LMHeadModel", TEXT, targets=["c_attn", "c_proj"]),
    "opt": Architecture(
        "opt", "OPTForCausalLM", TEXT | {"ffn_dim": 64, "word_embed_proj_dim": 32}
    ),
    "gpt_neox": Architecture(
        "gpt_neox", "GPTNeoXForCausalLM", TEXT, targets=["query_key_value", "dense"]
    ),
    "mixtral": Architecture("mixtral", "MixtralForCausalLM", MOE),
    "mamba": Architecture(
        "mamba", "MambaForCausalLM", TEXT | {"state_size": 4}, targets=["in_proj", "x_proj"]
    ),
    "bert": Architecture("bert", "BertForMaskedLM", TEXT, targets=BERT),
    "roberta": Architecture(
        "roberta", "RobertaForSequenceClassification", TEXT | {"max_position_embeddings": 32},
        targets=BERT,
    ),
    "distilbert": Architecture(
        "distilbert", "DistilBertForSequenceClassification",
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 64},
        targets=["q_lin", "v_lin"],
    ),
    "deberta": Architecture(
        "deberta-v2", "DebertaV2ForSequenceClassification", TEXT,
        targets=["query_proj", "value_proj"],
    ),
    "t5": Architecture("t5", "T5ForConditionalGeneration", T5, translated, ["q", "v"]),
    "bart": Architecture("bart", "BartForConditionalGeneration", BART, translated),
    "vit": Architecture(
        "vit", "ViTForImageClassification", SIZE | {"image_size": 16, "patch_size": 8}, image
    ),
    "resnet": Architecture(
        "resnet", "ResNetForImageClassification",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8, "layer_type": "basic"},
        image, ["convolution"],
    ),
    "convnext": Architecture(
        "convnext", "ConvNextForImageClassification",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}, image, ["pwconv1"],
    ),
    "siglip": Architecture(
        "siglip_vision_model", "SiglipVisionModel",
        SIZE | {"image_size": 16, "patch_size": 8, "intermediate_size": 64}, image,
    ),
    "videomae": Architecture(
        "videomae", "VideoMAEForVideoClassification",
        SIZE | {"image_size": 16, "patch_size": 8, "num_frames": 4}, video, BERT,
    ),
    "wav2vec2": Architecture("wav2vec2", "Wav2Vec2ForCTC", SPEECH, sound),
    "whisper": Architecture("whisper", "WhisperForConditionalGeneration", WHISPER, spectrum),
}  # fmt: skip
