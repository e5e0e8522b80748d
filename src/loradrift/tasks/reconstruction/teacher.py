"""What the base model says of the answers' first tokens where it reads the full text.

It is computed once for all runs with the same base, rows and K, and kept in the cache.
"""

# Shape suffixes: R rows of the table, K answer tokens of each, N answer tokens of a batch, S scores
# kept.

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from loradrift.caching import cached, entry
from loradrift.data import Batch, EvaluationBatches
from loradrift.models import Backbone
from loradrift.models.hooks import eval_mode
from loradrift.models.soft_prompt import full_text
from loradrift.models.soft_prompt.model import AnswerTokens, answer_logits, answer_tokens
from loradrift.progress import announced
from loradrift.tasks.prepared import PreparedData

KEPT = 256
"""Likeliest tokens of which log-probabilities are kept; the others count together."""

FORMAT = "teacher 1"
"""Begins the keys of cached scores: change it together with what they hold."""


class Teacher(NamedTuple):
    """The likeliest tokens at each of an answer's first places, and their log-probabilities."""

    ids_RKS: Tensor
    logs_RKS: Tensor

    def of(self, batch: Batch, tokens: AnswerTokens) -> tuple[Tensor, Tensor]:
        """What belongs to tokens of a batch's answers, both (N, S), where the batch is."""
        index_N, steps_N = batch["index"][tokens.rows_N].cpu(), tokens.steps_N.cpu()
        device = tokens.rows_N.device
        ids_NS, logs_NS = self.ids_RKS[index_N, steps_N], self.logs_RKS[index_N, steps_N]
        return ids_NS.long().to(device), logs_NS.to(device)


def load_teacher(
    backbone: Backbone, data: PreparedData, num_tokens: int, batch_size: int, precision: str
) -> Teacher:
    """The base model's scores of the training rows, computed if the cache lacks them.

    Args:
        backbone: The base model, or one whose adapters have not been trained yet.
        data: Training rows, and the cache.
        num_tokens: K.
        batch_size: Rows at a time.
        precision: In which the backbone computes.
    """
    from safetensors.torch import load_file, save_file

    prints = [data.fingerprints[name] for name in ("base_model", "train_rows", "tokenization")]
    key = {"format": FORMAT, "prints": prints, "tokens": num_tokens, "precision": precision}

    def make(path: Path) -> None:
        with announced("asking the teacher", has_bar=True):
            found = _ask(backbone, data, num_tokens, batch_size)
        save_file({"ids": found.ids_RKS, "logs": found.logs_RKS}, path)

    def read(path: Path) -> Teacher:
        try:
            held = load_file(path)
        except Exception as error:  # safetensors has an error of its own
            if isinstance(error, OSError):
                raise
            raise ValueError(str(error)) from error
        return Teacher(held["ids"], held["logs"])

    return cached(entry(data.cache / "teachers", key, ".safetensors"), make, read)


@torch.no_grad()
def _ask(backbone: Backbone, data: PreparedData, num_tokens: int, batch_size: int) -> Teacher:
    device = next(backbone.parameters()).device
    size = len(data.train)
    kept = min(KEPT, len(backbone.causal_lm.get_output_embeddings().weight))
    ids_RKS = torch.zeros(size, num_tokens, kept, dtype=torch.int32)
    logs_RKS = torch.zeros(size, num_tokens, kept)
    with eval_mode(backbone):
        for batch in EvaluationBatches(data.train, data.collate, batch_size=batch_size):
            here = {name: value.to(device) for name, value in batch.items()}
            whole = full_text(backbone.embed(here["input_ids"]), here)
            tokens = answer_tokens(here, num_tokens)
            top = answer_logits(backbone, whole, tokens).float().log_softmax(1).topk(kept)
            index_N, steps_N = batch["index"][tokens.rows_N.cpu()], tokens.steps_N.cpu()
            ids_RKS[index_N, steps_N] = top.indices.int().cpu()
            logs_RKS[index_N, steps_N] = top.values.cpu()
    return Teacher(ids_RKS, logs_RKS)
