"""Which questions are trained on, which choose the checkpoint and the threshold."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from loradrift.config import DataConfig, UserError
from loradrift.data.base import Splits
from loradrift.data.squad_v2.format import Question


def find_squad(root: Path, split: str) -> Path:
    """The file of a split below ``root``: official, or mini if the training split is there as mini.

    The two are never mixed: the mini training file has paragraphs of the official dev file.

    Args:
        root: The folder that holds the files, or one above called ``squad_v2``.
        split: ``train``, ``dev`` or ``test``.

    Raises:
        UserError: If there is none.
    """
    folder = root / "squad_v2" if (root / "squad_v2").is_dir() else root
    official = any(folder.glob("train-v2.0.json*"))
    kind = "-mini" if not official and any(folder.glob("train-mini-v2.0.json*")) else ""
    path = folder / f"{split}{kind}-v2.0.json"
    packed = path.with_suffix(".json.gz")
    if not path.is_file() and not packed.is_file():
        raise UserError(
            f"{path} (or .json.gz) is missing: data.root must hold SQuAD v2's official files"
        )
    return path if path.is_file() else packed


def split_questions(
    train: Sequence[Question], evaluation: Sequence[Question], data: DataConfig
) -> Splits[Question]:
    """Hold questions out of the training split, then cut it to ``data.train_rows``.

    Whole paragraphs are held out, with all of their questions.

    Args:
        train: The official training split.
        evaluation: The split to report.
        data: Gives the seed of the draw and the sizes.

    Raises:
        UserError: If there are too few paragraphs, or fewer training rows than asked for, or a
            paragraph or an id of the training split is in the reported one too.
    """
    paragraphs: defaultdict[str, list[int]] = defaultdict(list)
    for i, question in enumerate(train):
        paragraphs[question.context].append(i)
    if shared := next((q for q in evaluation if q.context in paragraphs), None):
        raise UserError(
            f"the paragraph of question {shared.id} of the {data.evaluation_split} split is in the "
            "train split too"
        )
    ids = {question.id for question in train}
    if shared := next((q for q in evaluation if q.id in ids), None):
        raise UserError(
            f"the question id {shared.id!r} of the {data.evaluation_split} split is in the train "
            "split too: ids must be unique over both"
        )
    order = list(paragraphs.values())
    random.Random(data.seed).shuffle(order)
    wanted = min(data.validation_rows, len(train) // 10)
    held_out: set[int] = set()
    rest: list[int] = []
    for members in order:
        if len(held_out) < wanted:
            held_out.update(members)
        else:
            rest += members
    if not held_out or not rest:
        raise UserError(
            f"the train split has {len(train)} questions on {len(order)} paragraphs: too few to "
            "hold some out"
        )
    if data.train_rows is not None and data.train_rows > len(rest):
        raise UserError(
            f"data.train_rows must be at most {len(rest)} (the train split without its "
            f"{len(held_out)} validation questions), got {data.train_rows}"
        )
    return Splits(
        [train[i] for i in sorted(rest[: data.train_rows])],
        [train[i] for i in sorted(held_out)],
        list(evaluation),
    )
