"""GLUE from the Hugging Face hub (nyu-mll/glue), through ``datasets``."""

from loradrift.config import UserError
from loradrift.data.base import Row
from loradrift.data.glue import FORMATS

REPOSITORY = "nyu-mll/glue"


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
