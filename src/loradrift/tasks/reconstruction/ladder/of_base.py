"""Rungs of the base model: the same for all runs, computed once and kept in the cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from loradrift.caching import cached, entry
from loradrift.data import EvaluationBatches
from loradrift.data.reconstruction import EncodedContexts
from loradrift.models.hooks import eval_mode
from loradrift.models.soft_prompt import SoftPromptModel, SoftPromptSizes, fit_head
from loradrift.progress import announced
from loradrift.tasks.prepared import PreparedData
from loradrift.tasks.reconstruction.answering import Answerer
from loradrift.tasks.reconstruction.fitted_rows import contexts
from loradrift.tasks.reconstruction.ladder.full_text import answer_text
from loradrift.tasks.reconstruction.ladder.rungs import (
    FULL_TEXT,
    Rung,
    RungRow,
    answer_given,
    first_bytes,
    first_tokens,
    means,
    no_context,
    replay,
    vectors,
)

FORMAT = "rungs 1"
"""Begins the keys of cached rungs: change it together with what they hold."""

PRINTS = ("base_model", "evaluation_rows", "tokenization")


def base_rungs(
    answerer: Answerer,
    sizes: SoftPromptSizes,
    data: PreparedData,
    batch_size: int,
    precision: str,
) -> dict[str, list[RungRow]]:
    """What the base model answers to the reported rows with other things in the contexts' place.

    Args:
        answerer: Its backbone is the base model, or one whose adapters have not been trained yet.
        sizes: Of a run's latents: how much the shorter rungs are given.
        data: The rows, their fingerprints, and the cache.
        batch_size: Rows at a time.
        precision: In which the backbone computes.
    """
    table = cast(EncodedContexts, data.evaluation)
    width = answerer.backbone.causal_lm.get_input_embeddings().weight.shape[1]
    size, latents = sizes.num_bytes(width), sizes.num_latents
    own: dict[str, dict[str, Any]] = {
        FULL_TEXT: {},
        "embedding_replay": {},
        "truncated_tokens": {"tokens": latents},
        "truncated_bytes": {"bytes": size},
        "mean_pooling": {"chunks": latents},
        "no_context": {},
    }
    if sizes.d_z is not None:
        own["pca_inverse"] = {
            "latents": [latents, sizes.d_z, sizes.latent_bits],
            "train_rows": data.fingerprints["train_rows"],
        }
    shared = {
        "format": FORMAT,
        "prints": [data.fingerprints[name] for name in PRINTS],
        "max_tokens": answerer.max_tokens,
        "precision": precision,
    }
    makers: Mapping[str, Rung] = {
        "embedding_replay": replay,
        "truncated_tokens": first_tokens(table, latents),
        "truncated_bytes": first_bytes(table, size),
        "mean_pooling": means(latents),
        "no_context": no_context,
    }

    def compute(name: str) -> list[RungRow]:
        rung = makers.get(name)
        if name == "pca_inverse":
            rung = pca_inverse(answerer, sizes, data)
        with announced(f"the base model's ladder: {name}", has_bar=True):
            return _climb(answerer, table, data, rung, batch_size)

    found = {}
    for name, parts in own.items():
        path = entry(data.cache / "rungs", shared | {"rung": name} | parts, ".parquet")

        def make(path: Path, name: str = name) -> None:
            pd.DataFrame(compute(name)).to_parquet(path, index=False)

        found[name] = cached(path, make, _read)
    return found


@torch.no_grad()
def _climb(
    answerer: Answerer,
    table: EncodedContexts,
    data: PreparedData,
    rung: Rung | None,
    batch_size: int,
) -> list[RungRow]:
    """One rung of all rows, in their order; None is the full text."""
    backbone = answerer.backbone
    device = next(backbone.parameters()).device
    rows: list[RungRow] = []
    with eval_mode(backbone):
        for batch in EvaluationBatches(table, data.collate, batch_size=batch_size):
            here = {name: value.to(device) for name, value in batch.items()}
            if rung is None:
                rows += answer_text(answerer, table, here)
            else:
                given = rung(here, backbone.embed(here["input_ids"]))
                rows += answer_given(answerer, table, here, given)
    return sorted(rows)


def _read(path: Path) -> list[RungRow]:
    frame = pd.read_parquet(path, columns=list(RungRow._fields))
    return [RungRow(*row) for row in frame.itertuples(index=False, name=None)]


@torch.no_grad()
def pca_inverse(answerer: Answerer, sizes: SoftPromptSizes, data: PreparedData) -> Rung:
    """Chunk means as their principal components have them, in as many bits as the run's latents.

    It is the soft prompt of an untrained run with ``task.encoder=pca``, without its MLP.
    """
    backbone = answerer.backbone
    own = SoftPromptSizes("pca", sizes.num_latents, sizes.d_z, sizes.latent_bits)
    model = SoftPromptModel(backbone, own, seed=0)
    head = model.head.to(next(backbone.parameters()).device).eval()
    torch.nn.init.zeros_(head.adapter.down.weight)
    torch.nn.init.zeros_(head.adapter.down.bias)
    with eval_mode(backbone):
        fit_head(head, contexts(model, data.train, data.collate))

    def rung(batch: Any, embeds_BTD: torch.Tensor) -> Any:
        soft_BMD = head(embeds_BTD, batch["context_start"], batch["context_end"]).soft_BMD
        return vectors(soft_BMD, own.num_bytes(head.width))

    return rung
