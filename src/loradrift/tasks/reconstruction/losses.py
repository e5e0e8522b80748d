"""The losses of a compressed context, all read off one teacher-forced pass."""

# Shape suffixes: B rows, K answer tokens, M latents, D width, V vocabulary, S scores kept of a
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


def token_losses(logits_BKV: Tensor, ids_BK: Tensor) -> Tensor:
    """Cross-entropy (B, K) of each token, in nats."""
    logits_BVK = precise(logits_BKV).transpose(1, 2)
    return F.cross_entropy(logits_BVK, ids_BK, reduction="none")


def masked_mean(x_BK: Tensor, there_BK: Tensor) -> Tensor:
    """Mean over the tokens that are there."""
    return (x_BK * there_BK).sum() / there_BK.sum().clamp_min(1)


def distillation_losses(logits_BKV: Tensor, top_ids_BKS: Tensor, top_logs_BKS: Tensor) -> Tensor:
    """``KL(teacher || student)`` (B, K), of the teacher's likeliest tokens and the rest as one.

    Args:
        logits_BKV: The student's.
        top_ids_BKS: The teacher's likeliest tokens.
        top_logs_BKS: Their log-probabilities.
    """
    logits_BKV, teacher_BKS = precise(logits_BKV), precise(top_logs_BKS)
    whole_BK = logits_BKV.logsumexp(2)
    student_BKS = logits_BKV.gather(2, top_ids_BKS) - whole_BK[:, :, None]
    kl_BK = (teacher_BKS.exp() * (teacher_BKS - student_BKS)).sum(2)
    if top_ids_BKS.shape[2] == logits_BKV.shape[2]:
        return kl_BK
    others_BK = logits_BKV.scatter(2, top_ids_BKS, -torch.inf).logsumexp(2) - whole_BK
    rest_BK = (1 - teacher_BKS.exp().sum(2)).clamp_min(1e-9)  # rounding may leave less than none
    return kl_BK + rest_BK * (rest_BK.log() - others_BK)
