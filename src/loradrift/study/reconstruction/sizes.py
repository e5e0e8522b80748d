"""How deep and wide the model of a study is, and what its runs write."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

from loradrift.config import Config, ModelConfig, TinyModelConfig, UserError, check
from loradrift.progress import announced
from loradrift.study.disk import FLOAT, Sizes, check_disk, study_sizes
from loradrift.study.reconstruction.cells import ReconstructionCell
from loradrift.tasks.reconstruction import ReconstructionConfig


class Shape(NamedTuple):
    """Of a model."""

    depth: int
    """Blocks."""

    width: int


def shape_of(model: ModelConfig) -> Shape:
    """The shape of a model, which need not be there yet if it is the small one."""
    if isinstance(model, TinyModelConfig):
        return Shape(model.num_layers, model.hidden_size)
    from loradrift.models import check_path, load_architecture

    check_path(model)
    architecture = load_architecture(model).get_text_config()
    return Shape(int(architecture.num_hidden_layers), int(architecture.hidden_size))


def check_samples(settings: Config, samples: int) -> None:
    """Refuse more training rows than there are."""
    from loradrift.tasks import spec_of

    data, cache = replace(settings.data, train_rows=None), Path(settings.cache)
    rows = len(spec_of(settings.task).load(settings.task, data, cache).train)
    rule = f"at most {rows} (the train split without its validation questions)"
    check(samples <= rows, "study.samples", rule, samples)


def check_latents(cells: Sequence[ReconstructionCell], width: int) -> None:
    """Refuse latents that a cell could not have, before any of them trains."""
    from loradrift.models import load_architecture, load_tokenizer, num_positions
    from loradrift.tasks import spec_of
    from loradrift.tasks.reconstruction.building import Room, check_sizes
    from loradrift.training.base_model import tiny_architecture

    [first, *_] = cells
    config, cache = first.config, Path(first.config.cache)
    model, spec = config.model, spec_of(config.task)
    if isinstance(model, TinyModelConfig):
        model = tiny_architecture(config, model)
    splits = spec.load(config.task, config.data, cache)
    encode = spec.encode(config.task, load_tokenizer(model), cache).encode
    names = ("train", "validation", "evaluation")
    with announced("making tokens of the rows"):
        tables = dict(zip(names, map(encode, splits.rows), strict=True))
    room = Room(width, num_positions(load_architecture(model)), model.path)
    for cell in cells:
        try:
            check_sizes(cast(ReconstructionConfig, cell.config.task), room, tables)
        except UserError as error:
            raise UserError(f"{cell.place}: {error}") from None


def check_room(configs: Sequence[Config], at_a_time: int, width: int) -> str:
    """What runs will write, and what is free; what does not fit is refused.

    Their heads count too, which a model without a head does not have.
    """
    sizes = study_sizes(configs, at_a_time)
    heads = sorted((num_parameters(config, width) for config in configs), reverse=True)
    learned = sizes.weights + 2 * FLOAT * sum(heads)
    points = sizes.resume_point + 2 * 3 * FLOAT * sum(heads[:at_a_time])
    [first, *_] = configs
    whole = Sizes(learned, sizes.activations, points)
    return check_disk(Path(first.runs), whole, first.study.name)


def num_parameters(config: Config, width: int) -> int:
    """Parameters of a run's encoder and adapter; none is made."""
    import torch

    from loradrift.models.soft_prompt import SoftPromptHead
    from loradrift.tasks.reconstruction.building import sizes_of

    assert isinstance(config.task, ReconstructionConfig)
    with torch.device("meta"):
        head = SoftPromptHead(width, sizes_of(config.task), seed=0)
    return sum(each.numel() for each in head.parameters())
