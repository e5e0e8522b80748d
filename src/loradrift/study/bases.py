"""The base model of a study, and the phase that makes what all cells read: it and the tokens."""

from collections.abc import Iterable

from loradrift.config import Config, FromScratchConfig, UserError
from loradrift.runs import read_record
from loradrift.runs.links import is_method
from loradrift.runs.starts import run_folder
from loradrift.study.cells import StudyCell


def check_base(settings: Config, name: str) -> None:
    """Refuse what study ``name`` cannot begin with, before it starts or says what it would cost.

    No report would read the runs of a study that begins with a run; one of ``task=pretrain`` is a
    base model like any other.

    Raises:
        UserError: If ``model.path`` is a run, or a local folder that holds no model.
    """
    path = settings.model.path
    folder = run_folder(path)
    record = None if folder is None else read_record(folder)
    if record is not None and not is_method(record, FromScratchConfig):
        raise UserError(
            f"model.path={path} is a run, and study={name} begins with a base model: leave it out, "
            "or type runs that start from that run one by one"
        )
    if path and folder is None:
        from loradrift.models import check_path  # imports torch

        check_path(settings.model)


def make_bases(cells: Iterable[StudyCell], cache: str, *, made: bool = False) -> None:
    """Make the base model and the tokens of the tasks whose cells are left.

    ``made`` says that an earlier phase has them made.
    """
    tasks = {cell.config.task.name: cell.config for cell in cells if not cell.record}
    if not tasks:
        print("phase base: no cell is left that would need it", flush=True)
        return
    if not made:
        from loradrift.training import run
        from loradrift.training.prepared_data import prepare

        for config in tasks.values():
            prepare(config, pretrain=run)
    print(
        f"phase base: the base model and the tokens of {', '.join(tasks)} are in {cache}; its "
        "representations are every run's step 0",
        flush=True,
    )
