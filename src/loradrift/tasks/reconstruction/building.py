"""From a backbone and prepared data to the task."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

from loradrift.config import OptimConfig, check
from loradrift.data import Rows
from loradrift.data.reconstruction import EncodedContexts
from loradrift.files import sha256_of
from loradrift.models import Backbone, num_positions
from loradrift.models.soft_prompt import SoftPromptModel, SoftPromptSizes, fit_head
from loradrift.tasks.prepared import PreparedData
from loradrift.tasks.reconstruction.config import ReconstructionConfig
from loradrift.tasks.reconstruction.fitted_rows import contexts
from loradrift.tasks.reconstruction.loading import HEAD, load_head
from loradrift.tasks.reconstruction.module import ReconstructionTask


def build_task(
    backbone: Backbone,
    task: ReconstructionConfig,
    optim: OptimConfig,
    data: PreparedData,
    seed: int,
) -> ReconstructionTask:
    """The task, with a head that is fitted on training rows.

    Raises:
        UserError: If the latents are more than rows, width or positions allow.
    """
    sizes = sizes_of(task)
    lm = backbone.causal_lm
    width = lm.get_input_embeddings().weight.shape[1]
    check_sizes(task, Room(width, num_positions(lm.config), data.model.path), data.tables)
    model = SoftPromptModel(backbone, sizes, seed=seed)
    prints = {}
    if task.encoder_run is None:
        fit_head(model.head, contexts(model, data.train, data.collate))
    else:
        folder = Path(task.encoder_run)
        load_head(model.head, folder, data)
        prints["encoder_run"] = sha256_of(folder / HEAD)
    built = ReconstructionTask(model, task, optim, data)
    built.fingerprints = prints
    return built


def sizes_of(task: ReconstructionConfig) -> SoftPromptSizes:
    """The sizes that the settings name."""
    return SoftPromptSizes(
        task.encoder, task.num_latents, task.d_z, task.latent_bits, task.encoder_layers
    )


class Room(NamedTuple):
    """What a model has for soft prompts."""

    width: int
    """Of its embeddings."""

    positions: int | None
    """The longest row that it takes, if there is a limit."""

    path: str


def check_sizes(task: ReconstructionConfig, room: Room, tables: Mapping[str, Rows]) -> None:
    """Refuse latents that are more than the training rows, the width or the positions allow.

    Args:
        task: Settings.
        room: Of the model.
        tables: The splits' rows by name.
    """
    if task.d_z is not None:
        rule = f"at most {room.width}, the width of the embeddings"
        check(task.d_z <= room.width, "task.d_z", rule, task.d_z)
        rows = len(tables["train"])
        rule = f"at most {rows}, the training rows that its components are fitted on"
        check(task.d_z <= rows, "task.d_z", rule, task.d_z)
    if room.positions is None:
        return
    others = max(
        int((table.answer_start - table.context_end + table.context_start).max())
        for table in cast("Mapping[str, EncodedContexts]", tables).values()
    )
    left = room.positions - others - task.max_answer_tokens - 1
    rule = (
        f"at most {left}: the {room.positions} positions of {room.path} also hold "
        f"{others} tokens of examples and question and {task.max_answer_tokens + 1} of an answer"
    )
    check(task.num_latents <= left, "task.num_latents", rule, task.num_latents)
