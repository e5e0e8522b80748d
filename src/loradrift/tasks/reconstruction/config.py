"""The settings of ``task=reconstruction``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loradrift.config import LoraConfig, TrainedConfig, UserError, check
from loradrift.config.errors import check_option, check_positive
from loradrift.config.values import path_field
from loradrift.tasks.reconstruction.contexts import ContextsConfig

if TYPE_CHECKING:
    from loradrift.config import Config

ANSWER_LOSSES = ("first_token", "k_token", "kd")
"""Losses that the language model is part of; each has a ``task.<loss>_weight``."""

ENCODER_LAYERS = 2

CE_TOKENS = 4
"""Default of K."""

LOSSES = ("reconstruction", *ANSWER_LOSSES)


@dataclass(kw_only=True)
class ReconstructionConfig(ContextsConfig):
    """Answer a question on a context of which only a few vectors are left."""

    max_length: int = 512
    """Tokens of a row: examples, context, question and answer."""

    metric: str = "text_f1"
    """``text_f1`` or ``text_em`` of the rows that are answered at each validation, or ``loss``."""

    encoder: str = "queries"
    """``pca`` (fixed), ``mean_pool`` (a linear map of each chunk's mean) or ``queries`` (a small
    transformer). The trained ones start at ``pca``."""

    num_latents: int = 16
    """Latents of a context, and vectors of its soft prompt."""

    d_z: int | None = 16
    """Numbers of a latent; null with ``mean_pool``: the chunk means themselves."""

    latent_bits: int = 8
    """Bits of each number: 32, 16, 8 or 4."""

    encoder_layers: int = ENCODER_LAYERS
    """Blocks of ``queries``."""

    ce_tokens: int = CE_TOKENS
    """K: the first tokens of an answer, of which ``k_token`` and ``kd`` are the means."""

    reconstruction_weight: float = 1.0
    """Of ``(1 - cosine) + 0.1 MSE`` between soft prompt and chunk means."""

    first_token_weight: float = 0.01
    """Of the cross-entropy of the answer's first token."""

    k_token_weight: float = 0.0
    """Of the mean cross-entropy of its first K tokens."""

    kd_weight: float = 0.0
    """Of the mean ``KL(teacher || student)`` over these; the teacher is the base model, which reads
    the full text."""

    adapt: str = "decoder"
    """What a LoRA method adapts: ``decoder`` (the language model), ``encoder``, or ``both``."""

    encoder_run: str | None = path_field(None)
    """Folder of a run whose trained encoder and adapter are the first ones of this run."""

    generated_rows: int = 100
    """Validation rows that are answered at each validation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "task.encoder", "pca", "mean_pool", "queries")
        check_option(self, "task.adapt", "decoder", "encoder", "both")
        bits = self.latent_bits
        check(bits in (32, 16, 8, 4), "task.latent_bits", "32, 16, 8 or 4", bits)
        counts = ("num_latents", "encoder_layers", "ce_tokens", "generated_rows")
        check_positive(self, "task", *counts)
        self._check_latents()
        for loss in LOSSES:
            key = f"{loss}_weight"
            check(getattr(self, key) >= 0, f"task.{key}", "at least 0", getattr(self, key))
        if not any(self.weights.values()):
            keys = ", ".join(f"task.{loss}_weight" for loss in LOSSES)
            raise UserError(f"{keys} are all 0: nothing would be learned")
        count, most = self.ce_tokens, self.max_answer_tokens + 1
        if self.k_token_weight or self.kd_weight:
            rule = f"at most {most}, task.max_answer_tokens and the token that ends an answer"
            check(count <= most, "task.ce_tokens", rule, count)
        elif count != CE_TOKENS:
            unused = "task.k_token_weight and task.kd_weight are 0"
            raise UserError(f"task.ce_tokens has no effect: {unused}")

    def _check_latents(self) -> None:
        d_z, kind = self.d_z, self.encoder
        if d_z is None:
            check(kind == "mean_pool", "task.d_z", f"a number with task.encoder={kind}", "null")
        else:
            check(d_z > 1, "task.d_z", "at least 2", d_z)
        if self.encoder_layers != ENCODER_LAYERS and kind != "queries":
            raise UserError(f"task.encoder_layers has no effect on task.encoder={kind}")
        if self.adapt != "decoder" and kind != "queries":
            rule = "decoder unless task.encoder=queries, which alone has weights to adapt"
            check(False, "task.adapt", rule, self.adapt)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss."""
        return {loss: getattr(self, f"{loss}_weight") for loss in LOSSES}

    @property
    def adapts_backbone(self) -> bool:
        """Whether LoRA is put on the language model."""
        return self.adapt != "encoder"

    def check_run(self, config: Config) -> None:
        """Refuse a method that would train what no loss reaches."""
        super().check_run(config)
        method = config.method
        if not isinstance(method, LoraConfig) and self.adapt != "decoder":
            raise UserError(f"task.adapt={self.adapt} has no effect on method={method.name}")
        if not isinstance(method, TrainedConfig) or method.name == "head_only":
            return
        if not self.adapts_backbone:
            for key, default in (("layers", "all"), ("target_modules", ["all-linear"])):
                if getattr(method, key) != default:
                    raise UserError(
                        f"method.{key} has no effect on task.adapt=encoder, whose linear layers "
                        "are all adapted"
                    )
        if self.adapts_backbone and not any(self.weights[loss] for loss in ANSWER_LOSSES):
            keys = ", ".join(f"task.{loss}_weight" for loss in ANSWER_LOSSES)
            raise UserError(
                f"method={method.name} would get no gradient: {keys} are all 0, and the "
                "reconstruction loss does not go through the language model; "
                "method=head_only trains what it reaches"
            )
        if config.trainer.sharded:
            raise UserError(f"task={self.name} cannot be trained with trainer=fsdp")
