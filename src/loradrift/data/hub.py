"""GLUE, SQuAD v2 and neutral text from the Hugging Face hub, through ``datasets``."""

from typing import Any

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.base import Row
from loradrift.data.corpus import paragraphs
from loradrift.data.glue import GlueFormat
from loradrift.data.squad_v2.format import Answer, Question

SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def read_hub(form: GlueFormat, task: str, split: str) -> list[Row]:
    """One split of a GLUE task.

    Raises:
        UserError: If the hub cannot be reached, or the split's labels are not public.
    """
    table = _load("nyu-mll/glue", form.hub_name, split=SPLITS[split])
    text, pair = form.hub_columns
    if any(not 0 <= label < len(form.labels) for label in table["label"]):
        raise UserError(f"the labels of {task}'s {split} split are not public; use another split")
    rows = []
    for i, row in enumerate(table):
        second = row[pair].strip() if pair else None
        rows.append(Row(f"{task}/{split}/{i}", row[text].strip(), second, row["label"]))
    return rows


def read_hub_squad(split: str) -> list[Question]:
    """One split of SQuAD v2.

    Raises:
        UserError: If the hub cannot be reached, or the split is not public.
    """
    if split == "test":
        raise UserError("the test split of squad_v2 is not public; use data.evaluation_split=dev")
    questions = []
    for row in _load("rajpurkar/squad_v2", split=SPLITS[split]):
        golds = tuple(map(Answer, row["answers"]["text"], row["answers"]["answer_start"]))
        question = row["question"].strip()
        questions.append(Question(row["id"], question, row["context"], golds, (), row["title"]))
    return questions


def read_hub_retention_text() -> list[Row]:
    """Paragraphs of WikiText-2's validation split (raw), or nothing if it cannot be had.

    A run whose own rows are in the hub's cache must not fail for want of a second data set.
    """
    try:
        table = _load("Salesforce/wikitext", "wikitext-2-raw-v1", split="validation")
    except UserError:
        return []
    return paragraphs(table["text"])


def _load(repository: str, *name: str, split: str) -> Any:
    """Download a split, or take it from the hub's cache."""
    import datasets

    try:
        return datasets.load_dataset(repository, *name, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        # ValueError is what an offline machine gets that has another part of it in its cache
        reason = excerpt(str(error).strip().split("\n")[0])
        raise UserError(
            f"data=hub cannot load {repository} ({reason}); without a network use data=embedded, "
            "or data=local data.root=<folder with the official files>"
        ) from None
