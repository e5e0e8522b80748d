"""``model=tiny``: a Llama of about 1 M parameters with its own tokenizer."""

from collections.abc import Iterable
from pathlib import Path

from loradrift.config import TinyModelConfig

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>")


def write_tiny(folder: Path, config: TinyModelConfig, texts: Iterable[str]) -> None:
    """Write ``config.json`` and a byte-level BPE tokenizer trained on ``texts``; no weights.

    Args:
        folder: A Hugging Face model folder to be.
        config: The architecture.
        texts: What the tokenizer learns from.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    unk, bos, eos, pad = SPECIAL_TOKENS
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unk,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        model_max_length=config.max_positions,
    ).save_pretrained(folder)
    LlamaConfig(
        # a corpus too small for the asked vocabulary gives a smaller one
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        head_dim=config.hidden_size // config.num_heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=True,
        # Three times the usual: at this width 0.02 leaves the blocks silent for hundreds of steps.
        initializer_range=0.06,
        bos_token_id=SPECIAL_TOKENS.index(bos),
        eos_token_id=SPECIAL_TOKENS.index(eos),
        pad_token_id=SPECIAL_TOKENS.index(pad),
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder)
