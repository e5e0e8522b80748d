"""GLUE and neutral text from the Hugging Face hub, through ``datasets``."""

from loradrift.config import UserError
from loradrift.data.base import Row
from loradrift.data.glue import FORMATS
from loradrift.data.neutral import paragraphs

REPOSITORY = "nyu-mll/glue"

NEUTRAL = "Salesforce/wikitext"


def read_hub(task: str, split: str) -> list[Row]:
    """Download (or take from the hub's cache) one split of a GLUE task.

    Raises:
        UserError: If the hub cannot be reached, or the split's labels are not public.
    """
    import datasets

    form = FORMATS[task]
    name = {"train": "train", "dev": "validation", "test": "test"}[split]
    try:
        table = datasets.load_dataset(REPOSITORY, form.hub_name, split=name)
    except (OSError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"data=hub cannot load {REPOSITORY} ({reason}); without a network use data=embedded, "
            "or data=local data.root=<folder with the official files>"
        ) from None
    text, pair = form.hub_columns
    if any(label not in (0, 1) for label in table["label"]):
        raise UserError(f"the labels of {task}'s {split} split are not public; use another split")
    return [
        Row(f"{task}/{split}/{i}", row[text].strip(), row[pair].strip() if pair else None, label)
        for i, row in enumerate(table)
        for label in (row["label"],)
    ]


def read_hub_neutral() -> list[Row]:
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
