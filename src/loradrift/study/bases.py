"""The phase that makes what all cells of a study read: the base model and the tokens."""

from collections.abc import Iterable

from loradrift.study.cells import StudyCell


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
