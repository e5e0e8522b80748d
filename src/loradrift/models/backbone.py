"""The transformer under study, the same object whatever makes it trainable."""

# Shape suffixes: B rows, T tokens, D width, V vocabulary.

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.caching import cached, entry
from loradrift.config import ModelConfig, UserError
from loradrift.files import read_json, write_json


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
        return self.causal_lm.get_decoder()

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's layers, whose outputs are the residual stream."""
        depth = self.causal_lm.config.num_hidden_layers
        for module in self.decoder.modules():
            if isinstance(module, nn.ModuleList) and len(module) == depth:
                return module
        name = type(self.causal_lm).__name__
        raise UserError(f"{name} holds no list of {depth} layers: not supported")

    @property
    def width(self) -> int:
        """Width D of the residual stream."""
        return int(self.causal_lm.config.hidden_size)

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
        options: dict[str, Any] = {}
        if mask is not None:
            positions_BT = (mask.long().cumsum(1) - 1).clamp(min=0)
            options = {"attention_mask": mask.long(), "position_ids": positions_BT}
        output = self.decoder(input_ids=input_ids, inputs_embeds=embeds, use_cache=False, **options)
        hidden_BTD: Tensor = output.last_hidden_state
        return hidden_BTD

    def next_token_logits(self, hidden_BTD: Tensor) -> Tensor:
        """Scores (B, T, V) of the token after each position."""
        logits_BTV: Tensor = self.causal_lm.get_output_embeddings()(hidden_BTD)
        return logits_BTV

    def freeze_output_head(self) -> None:
        """Exclude the language-modelling head from training where a task does not use it.

        A head tied to the input embeddings stays: it is the embeddings.
        """
        inputs = {id(p) for p in self.causal_lm.get_input_embeddings().parameters()}
        for parameter in self.causal_lm.get_output_embeddings().parameters():
            if id(parameter) not in inputs:
                parameter.requires_grad_(False)


def load_tokenizer(config: ModelConfig) -> Any:
    """The fast tokenizer of ``config.path``; a UserError if there is none."""
    from transformers import AutoTokenizer

    check_path(config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable_model(config, error) from None
    if not tokenizer.is_fast:
        raise UserError(f"model.path={config.path} holds no fast tokenizer (tokenizer.json)")
    return tokenizer


def load_backbone(config: ModelConfig, *, seed: int) -> Backbone:
    """Build the model in fp32 and train mode, with pretrained weights or random ones of ``seed``.

    Raises:
        UserError: If ``config.path`` holds no causal language model as safetensors.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    check_path(config)
    options: dict[str, Any] = {
        "dtype": torch.float32,
        "attn_implementation": config.attention,
        "trust_remote_code": False,
    }
    try:
        if config.weights == "pretrained":
            lm, loaded = AutoModelForCausalLM.from_pretrained(
                config.path, use_safetensors=True, output_loading_info=True, **options
            )
            # transformers only warns of these
            lost = sorted(map(str, [*loaded["missing_keys"], *loaded["mismatched_keys"]]))
            if lost:
                raise UserError(
                    f"model.path={config.path}: {len(lost)} parameters have no weights that fit, "
                    f"{lost[0]} among them; they would start at random"
                )
        else:
            architecture = AutoConfig.from_pretrained(config.path, trust_remote_code=False)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                lm = AutoModelForCausalLM.from_config(architecture, **options)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unreadable_model(config, error) from None
    # Pretrained models come in eval mode, in which gradient checkpointing silently does nothing.
    return Backbone(lm).train()


def check_path(config: ModelConfig) -> None:
    """Refuse a local folder that is no model, before anything large is imported.

    Raises:
        UserError: If the folder has no ``config.json``, or weights only as pickles.
    """
    folder = Path(config.path)
    looks_local = folder.exists() or config.path.startswith((".", "/", "~")) or "\\" in config.path
    if not looks_local:
        return
    if not (folder / "config.json").is_file():
        raise UserError(f"model.path={config.path} is no model: it has no config.json")
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


def _unreadable_model(config: ModelConfig, error: Exception) -> UserError:
    """The error of a model that cannot be loaded, with what the user can do."""
    reason = str(error).strip().split("\n")[0]
    if Path(config.path).exists():
        return UserError(f"model.path={config.path} cannot be loaded: {reason}")
    return UserError(
        f"model.path={config.path} is no local folder and cannot be had from the hub ({reason}); "
        "without a network use model=tiny, or model=local model.path=<folder>"
    )


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that train, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def model_fingerprint(config: ModelConfig, *, seed: int, cache: Path) -> str:
    """Digest (sha256) of the base model: its architecture file and its weights, or their seed.

    Weights are hashed once and remembered by name, size and time of change.

    Raises:
        UserError: If the model is neither here nor on the hub.
    """
    folder = Path(config.path)
    if not folder.is_dir():
        folder = _download(config)
    parts = [_file_digest(folder / "config.json", cache)]
    if config.weights == "random":
        parts.append(f"random {seed}")
    else:
        parts += [_file_digest(path, cache) for path in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _download(config: ModelConfig) -> Path:
    """The hub's snapshot of a model: every file that is loaded, and no pickle."""
    from huggingface_hub import snapshot_download

    wanted = ["*.json"] if config.weights == "random" else ["*.json", "*.safetensors"]
    try:
        return Path(snapshot_download(config.path, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        raise _unreadable_model(config, error) from None


def _file_digest(path: Path, cache: Path) -> str:
    stat = path.stat()
    key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"

    def hash_file(temporary: Path) -> None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        write_json(temporary, {"sha256": digest})

    known = entry(cache / "digests", key, ".json")
    return cached(known, hash_file, lambda written: str(read_json(written)["sha256"]))
