"""Small random models of the families of causal language models that people fine-tune."""

import shutil
from pathlib import Path

SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 1, "head_dim": 16}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
OPT = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
EXPERTS = GROUPED | {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
STATES = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "time_step_rank": 2}
LATENT = {
    "num_key_value_heads": 2, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "num_experts_per_tok": 2,
}  # fmt: skip
GRANITE = {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "attention_multiplier": 0.06}
MPT = {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 64}
FALCON = {**SIZES, "ffn_hidden_size": 64}
LINEAR_ATTENTION = {
    "linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip

FAMILIES: dict[str, tuple[str, dict]] = {
    "llama": ("llama", GROUPED),
    "mistral": ("mistral", GROUPED | {"sliding_window": 8}),
    "ministral": ("ministral", GROUPED | {"sliding_window": 8}),
    "mixtral": ("mixtral", GROUPED | {"num_local_experts": 4}),
    "qwen2": ("qwen2", SIZES | {"num_key_value_heads": 1}),
    "qwen2_moe": (
        "qwen2_moe",
        SIZES | {"num_key_value_heads": 1, "num_experts": 4, "num_experts_per_tok": 2}
        | {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    ),
    "qwen3": ("qwen3", GROUPED),
    "qwen3_moe": ("qwen3_moe", EXPERTS | {"num_experts": 4}),
    "qwen3_5_text": ("qwen3_5_text", GROUPED | LINEAR_ATTENTION),
    "gemma": ("gemma", GROUPED),
    "gemma2": ("gemma2", GROUPED | {"sliding_window": 8}),
    "gemma3_text": ("gemma3_text", GROUPED | {"sliding_window": 8}),
    "gemma3": (
        "gemma3",
        {"text_config": GROUPED | {"vocab_size": 300}, "mm_tokens_per_image": 4}
        | {"vision_config": SIZES | {"image_size": 16, "patch_size": 4}},
    ),
    "phi": ("phi", SIZES),
    "phi3": ("phi3", SIZES | {"num_key_value_heads": 1, "sliding_window": 8}),
    "phimoe": ("phimoe", SIZES | {"num_key_value_heads": 1, "num_local_experts": 4}),
    "gpt2": ("gpt2", GPT),
    "gpt_neo": (
        "gpt_neo",
        {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "window_size": 8}
        | {"attention_types": [[["global", "local"], 1]]},
    ),
    "gptj": ("gptj", GPT | {"rotary_dim": 8}),
    "gpt_neox": ("gpt_neox", SIZES),
    "gpt_bigcode": ("gpt_bigcode", GPT),
    "gpt_oss": ("gpt_oss", GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "openai-gpt": ("openai-gpt", GPT),
    "codegen": ("codegen", GPT | {"n_head": 4, "rotary_dim": 8}),
    "opt": ("opt", OPT),
    "opt_narrow": ("opt", OPT | {"word_embed_proj_dim": 16}),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 2}),
    "mpt": ("mpt", MPT),
    "falcon": ("falcon", FALCON),
    "falcon_alibi": ("falcon", FALCON | {"alibi": True}),
    "falcon_grouped": ("falcon", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 1}),
    "smollm3": ("smollm3", GROUPED),
    "granite": ("granite", SIZES | {"num_key_value_heads": 1} | GRANITE),
    "granitemoe": ("granitemoe", SIZES | {"num_key_value_heads": 1, "num_local_experts": 4}),
    "stablelm": ("stablelm", SIZES | {"num_key_value_heads": 1}),
    "starcoder2": ("starcoder2", SIZES | {"num_key_value_heads": 1}),
    "olmo": ("olmo", SIZES | {"num_key_value_heads": 1}),
    "olmo2": ("olmo2", SIZES | {"num_key_value_heads": 1}),
    "olmo3": ("olmo3", SIZES | {"num_key_value_heads": 1, "sliding_window": 8}),
    "olmoe": (
        "olmoe", SIZES | {"num_key_value_heads": 1, "num_experts": 4, "num_experts_per_tok": 2},
    ),
    "cohere": ("cohere", SIZES | {"num_key_value_heads": 1}),
    "cohere2": ("cohere2", GROUPED | {"sliding_window": 8}),
    "deepseek_v2": ("deepseek_v2", SIZES | LATENT | {"moe_intermediate_size": 32, "head_dim": 8}),
    "deepseek_v3": ("deepseek_v3", SIZES | LATENT | {"moe_intermediate_size": 32, "head_dim": 8}),
    "glm": ("glm", GROUPED),
    "glm4": ("glm4", GROUPED),
    "nemotron": ("nemotron", SIZES | {"num_key_value_heads": 1}),
    "exaone4": ("exaone4", GROUPED | {"sliding_window": 8}),
    "ernie4_5": ("ernie4_5", GROUPED),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", GROUPED),
    "lfm2": ("lfm2", SIZES | {"num_key_value_heads": 1}),
    "biogpt": ("biogpt", SIZES),
    "ctrl": ("ctrl", {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "dff": 64}),
    "modernbert-decoder": ("modernbert-decoder", SIZES | {"local_attention": 8}),
    "mamba": ("mamba", STATES),
    # refused
    "bidirectional": ("llama", GROUPED | {"is_causal": False, "initializer_range": 0.2}),
    "bidirectional_gemma": (
        "gemma3_text", GROUPED | {"use_bidirectional_attention": True, "initializer_range": 0.2},
    ),
    "bert": ("bert", SIZES),
    "bert_decoder": ("bert", SIZES | {"is_decoder": True}),
    "roberta": ("roberta", SIZES),
    "xlnet": ("xlnet", {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64}),
    "bart": (
        "bart",
        {"d_model": 32, "decoder_layers": 2, "encoder_layers": 2, "decoder_ffn_dim": 64}
        | {"decoder_attention_heads": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64},
    ),
    "t5": ("t5", {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 64, "d_kv": 16}),
    "longrope": (
        "llama",
        GROUPED | {"initializer_range": 0.2}
        | {"rope_parameters": {
            "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32,
            "short_factor": [1.0] * 8, "long_factor": [4.0] * 8,
        }},
    ),
}  # fmt: skip

EAGER = ("bloom", "codegen", "ctrl", "gptj", "gpt_neo", "gpt_oss", "mamba", "mpt", "openai-gpt")
"""Families without SDPA, or for which both are the same."""


def write_family(name: str, tokenizer: Path, folder: Path) -> Path:
    """A model of random weights in ``folder``, with the tokenizer of another."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    kind, sizes = FAMILIES[name]
    tokens = {"vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    limit = {} if kind == "xlnet" else {"max_position_embeddings": 64}  # which has none
    config = AutoConfig.for_model(kind, **tokens | limit | sizes)
    build = AutoModel if kind == "t5" else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build.from_config(config, dtype=torch.float32).save_pretrained(folder)
    for path in tokenizer.glob("tokenizer*"):
        shutil.copy(path, folder)
    return folder


def typed(name: str, method: str, folder: Path, places: list[str]) -> list[str]:
    """The command of a run of three steps."""
    attention = ["model.attention=eager"] * (name in EAGER)
    return [
        f"method={method}", "model=local", f"model.path={folder}", *attention, *places,
        "task.max_steps=3", "task.batch_size=8", "task.max_length=24", "trainer.threads=1",
        "data.train_rows=100", "data.validation_rows=10", "callbacks.activation_dump.rows=8",
        "callbacks.activation_dump.every_n_steps=2", "callbacks.activation_dump.dtype=float32",
        "callbacks.forgetting.tokens=256",
    ]  # fmt: skip
