"""The losses of a compressed context, all read off one teacher-forced pass."""

# Shape suffixes: B rows, N answer tokens, M latents, D width, V vocabulary, S scores kept of a
# teacher.

import torch
import torch.nn.functional as F
from torch import Tensor

from loradrift.models.soft_prompt import precise

MSE_SHARE = 0.1
"""Weight of the squared error beside 1 - cosine."""


def cosines(soft_BMD: Tensor, target_BMD: Tensor) -> Tensor:
    """Cosine (B, M) of each soft vector with what it reconstructs."""
    return F.cosine_similarity(soft_BMD, target_BMD, dim=-1)


def reconstruction_loss(soft_BMD: Tensor, target_BMD: Tensor) -> Tensor:
    """``(1 - cosine) + 0.1 * MSE``, the latter in units of the target's mean square."""
    error = F.mse_loss(soft_BMD, target_BMD) / target_BMD.square().mean()
    return (1 - cosines(soft_BMD, target_BMD)).mean() + MSE_SHARE * error


def token_losses(logits_NV: Tensor, ids_N: Tensor) -> Tensor:
    """Cross-entropy (N,) of each token, in nats."""
    return F.cross_entropy(precise(logits_NV), ids_N, reduction="none")


def distillation_losses(logits_NV: Tensor, top_ids_NS: Tensor, top_logs_NS: Tensor) -> Tensor:
    """``KL(teacher || student)`` (N,), of the teacher's likeliest tokens and the rest as one.

    Args:
        logits_NV: The student's.
        top_ids_NS: The teacher's likeliest tokens.
        top_logs_NS: Their log-probabilities.
    """
    logits_NV, teacher_NS = precise(logits_NV), precise(top_logs_NS)
    whole_N = logits_NV.logsumexp(1)
    student_NS = logits_NV.gather(1, top_ids_NS) - whole_N[:, None]
    kl_N = (teacher_NS.exp() * (teacher_NS - student_NS)).sum(1)
    if top_ids_NS.shape[1] == logits_NV.shape[1]:
        return kl_N
    others_N = logits_NV.scatter(1, top_ids_NS, -torch.inf).logsumexp(1) - whole_N
    rest_N = (1 - teacher_NS.exp().sum(1)).clamp_min(1e-9)  # rounding may leave less than none
    return kl_N + rest_N * (rest_N.log() - others_N)
