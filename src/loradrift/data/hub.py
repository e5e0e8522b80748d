"""GLUE, SQuAD v2 and neutral text from the Hugging Face hub, through ``datasets``."""

from loradrift.config import UserError
from loradrift.data.base import Row
from loradrift.data.glue import GlueFormat
from loradrift.data.retention_text import paragraphs
from loradrift.data.squad_v2.format import Answer, Question

REPOSITORY = "nyu-mll/glue"

SQUAD = "rajpurkar/squad_v2"

NEUTRAL = "Salesforce/wikitext"


def read_hub(form: GlueFormat, task: str, split: str) -> list[Row]:
    """Download (or take from the hub's cache) one split of a GLUE task.

    Raises:
        UserError: If the hub cannot be reached, or the split's labels are not public.
    """
    import datasets

    name = {"train": "train", "dev": "validation", "test": "test"}[split]
    try:
        table = datasets.load_dataset(REPOSITORY, form.hub_name, split=name)
    except (OSError, datasets.exceptions.DatasetsError) as error:
        raise _no_hub(REPOSITORY, error) from None
    text, pair = form.hub_columns
    if any(not 0 <= label < len(form.labels) for label in table["label"]):
        raise UserError(f"the labels of {task}'s {split} split are not public; use another split")
    return [
        Row(f"{task}/{split}/{i}", row[text].strip(), row[pair].strip() if pair else None, label)
        for i, row in enumerate(table)
        for label in (row["label"],)
    ]


def read_hub_squad(split: str) -> list[Question]:
    """Download (or take from the hub's cache) one split of SQuAD v2.

    Raises:
        UserError: If the hub cannot be reached, or the split is not public.
    """
    import datasets

    if split == "test":
        raise UserError("the test split of squad_v2 is not public; use data.evaluation_split=dev")
    name = {"train": "train", "dev": "validation"}[split]
    try:
        table = datasets.load_dataset(SQUAD, split=name)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise _no_hub(SQUAD, error) from None
    return [
        Question(
            row["id"],
            row["question"].strip(),
            row["context"],
            tuple(map(Answer, row["answers"]["text"], row["answers"]["answer_start"])),
            (),
            row["title"],
        )
        for row in table
    ]


def _no_hub(repository: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0]
    return UserError(
        f"data=hub cannot load {repository} ({reason}); without a network use data=embedded, "
        "or data=local data.root=<folder with the official files>"
    )


def read_hub_retention_text() -> list[Row]:
    """Paragraphs of WikiText-2's validation split (raw), or nothing if it cannot be had.

    A run whose own rows are in the hub's cache must not fail for want of a second data set.
    """
    import datasets

    try:
        table = datasets.load_dataset(NEUTRAL, "wikitext-2-raw-v1", split="validation")
    except (OSError, ValueError, datasets.exceptions.DatasetsError):
        # ValueError is what an offline machine gets that has another part of it in its cache
        return []
    return paragraphs(table["text"])
