"""The transformer under study, the same object whatever makes it trainable."""

# Shape suffixes: B rows, T tokens, D width, V vocabulary.

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.config import ModelConfig, UserError
from loradrift.models.architecture import (
    check_files,
    check_surplus,
    check_weights,
    load_architecture,
    reading,
)


class Backbone(nn.Module):
    """A Hugging Face causal language model, as is or wrapped by PEFT.

    Args:
        lm: The language model. PEFT injects its layers into it in place, so that the decoder
            below is the adapted one, with no wrapper between it and a task.
    """

    lm: Any

    def __init__(self, lm: nn.Module) -> None:
        super().__init__()
        self.lm = lm

    @property
    def causal_lm(self) -> Any:
        """The Hugging Face model without PEFT's wrapper around it."""
        return self.lm.get_base_model() if hasattr(self.lm, "get_base_model") else self.lm

    @property
    def decoder(self) -> Any:
        """The transformer without the language-modelling head."""
        lm = self.causal_lm
        found = lm.get_decoder()
        if found is lm.get_output_embeddings():  # what ModernBERT calls its head
            found = lm.base_model
        return lm.model if found is lm else found  # Llama 4 finds itself

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's layers, whose outputs are the residual stream."""
        depth = self.causal_lm.config.get_text_config().num_hidden_layers
        for module in self.decoder.modules():
            if isinstance(module, nn.ModuleList) and len(module) == depth:
                return module
        name = type(self.causal_lm).__name__
        raise UserError(f"{name} holds no list of {depth} layers: not supported")

    @property
    def width(self) -> int:
        """Width D of the final hidden states; the residual stream of some (OPT-350M) is wider."""
        return int(self.causal_lm.get_output_embeddings().weight.shape[1])

    def encode(
        self,
        input_ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Final hidden states (B, T, D) of token ids, or of vectors in their place.

        Rows that are padded on the right need no mask: attention is causal, so that no real token
        ever sees padding, and the kernels keep their fast causal path.

        Args:
            input_ids: (B, T).
            embeds: (B, T, D), such as a soft prompt and the embeddings of the text after it.
            mask: (B, T), true for real tokens, where rows are padded on the left.

        Raises:
            ValueError: Unless there is exactly one of ``input_ids`` and ``embeds``.
        """
        if (input_ids is None) == (embeds is None):
            raise ValueError("encode takes exactly one of input_ids and embeds")
        options: dict[str, Any] = {"use_cache": False}
        if embeds is not None:
            options["inputs_embeds"] = embeds
        if mask is not None:
            positions_BT = (mask.long().cumsum(1) - 1).clamp(min=0)
            options |= {"attention_mask": mask.long(), "position_ids": positions_BT}
        output = self.decoder(input_ids=input_ids, **options)
        hidden_BTD: Tensor = output.last_hidden_state
        return hidden_BTD

    def embed(self, input_ids: Tensor) -> Tensor:
        """The vectors (…, D) of token ids, which :meth:`encode` takes in their place."""
        vectors: Tensor = self.causal_lm.get_input_embeddings()(input_ids)
        return vectors

    def next_token_logits(self, hidden_BTD: Tensor) -> Tensor:
        """Scores (B, T, V) of the token after each position, scaled and capped as the model does.

        :func:`~loradrift.models.trial.try_out` compares them with the model's own.
        """
        logits_BTV: Tensor = self.causal_lm.get_output_embeddings()(hidden_BTD)
        config = self.causal_lm.config.get_text_config()
        for factor in ("logit_scale", "lm_head_multiplier"):  # Cohere and MPT, Falcon-H1
            if (value := getattr(config, factor, None)) is not None:
                logits_BTV = logits_BTV * value
        if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
            logits_BTV = logits_BTV / divisor
        for bound in ("final_logit_softcapping", "logits_soft_cap"):  # Gemma, RecurrentGemma
            if (cap := getattr(config, bound, None)) is not None:
                logits_BTV = cap * torch.tanh(logits_BTV / cap)
        return logits_BTV

    def freeze_output_head(self) -> None:
        """Exclude what is not of the transformer from training where a task does not use it.

        That is the language-modelling head, and what else stands before or behind the transformer.
        A head tied to the input embeddings stays: it is the embeddings.
        """
        inside = {id(p) for p in self.decoder.parameters()}
        for parameter in self.causal_lm.parameters():
            if id(parameter) not in inside:
                parameter.requires_grad_(False)


def load_tokenizer(config: ModelConfig) -> Any:
    """The fast tokenizer of ``config.path``; a UserError if there is none."""
    from transformers import AutoTokenizer

    check_path(config)
    with reading(config, "tokenizer files"):
        tokenizer = AutoTokenizer.from_pretrained(config.path, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise UserError(f"model.path={config.path} holds no fast tokenizer (tokenizer.json)")
    return tokenizer


def load_backbone(config: ModelConfig, *, seed: int) -> Backbone:
    """Build the model in fp32 and train mode, with pretrained weights or random ones of ``seed``.

    Raises:
        UserError: If ``config.path`` holds no causal language model as safetensors.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.getLogger("transformers.modeling_utils").addFilter(_is_news)
    check_path(config)
    architecture = load_architecture(config)
    options: dict[str, Any] = {
        "dtype": torch.float32,
        "attn_implementation": config.attention,
        "trust_remote_code": False,
    }
    with reading(config, "config.json or weights"):
        if config.weights == "pretrained":
            lm = _pretrained(config, architecture, options)
        else:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                lm = AutoModelForCausalLM.from_config(architecture, **options)
    # Pretrained models come in eval mode, in which gradient checkpointing silently does nothing.
    return Backbone(lm).train()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a log line of transformers says what is not known or judged here.

    Every key of its load report is judged, and no token sees the padding that it wants masked.
    """
    known = ("strongly recommend passing in an `attention_mask`", "LOAD REPORT")
    return not any(words in record.getMessage() for words in known)


def _pretrained(config: ModelConfig, architecture: Any, options: dict[str, Any]) -> Any:
    """The model with every weight of its files, and no other."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.peft_utils import find_adapter_config_file

    here = f"model.path={config.path}"
    if find_adapter_config_file(config.path) is not None:  # also on the hub
        raise adapter_beside(config)
    lm, loaded = AutoModelForCausalLM.from_pretrained(
        config.path,
        config=architecture,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    # transformers only warns of these
    lost = sorted(map(str, [*loaded["missing_keys"], *loaded["mismatched_keys"]]))
    if lost:
        raise UserError(
            f"{here}: {len(lost)} parameters have no weights that fit, {lost[0]} among them; they "
            "would start at random"
        )
    check_surplus(here, lm, loaded["unexpected_keys"])
    check_weights(here, lm)
    return lm


def check_path(config: ModelConfig) -> None:
    """Refuse a local folder that is no model, before anything large is imported.

    Raises:
        UserError: If the folder has no ``config.json``, weights only as pickles, or an adapter too.
    """
    folder = Path(config.path)
    looks_local = folder.exists() or config.path.startswith((".", "/", "~")) or "\\" in config.path
    if not looks_local:
        return
    if not (folder / "config.json").is_file():
        raise UserError(f"model.path={config.path} is no model: it has no config.json")
    if (folder / "adapter_config.json").is_file():
        raise adapter_beside(config)
    check_files(f"model.path={config.path}", folder)
    if config.weights == "random" or any(folder.glob("*.safetensors")):
        return
    if pickles := sorted(path.name for path in folder.glob("*.bin")):
        raise UserError(
            f"model.path={config.path} holds its weights as a pickle ({pickles[0]}), which can "
            "run code and is not loaded; convert it to safetensors"
        )
    raise UserError(
        f"model.path={config.path} holds no weights (*.safetensors); model.weights=random builds "
        "the architecture alone"
    )


def adapter_beside(config: ModelConfig) -> UserError:
    """The error of a model with an adapter in its folder, which only some ways to load it apply."""
    return UserError(
        f"model.path={config.path} must hold a model alone, and holds an adapter too "
        "(adapter_config.json), which transformers would apply"
    )


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that train, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
