"""From ``judge=<name>`` to a judge."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loradrift.config import DataConfig, UserError, check
from loradrift.config.errors import one_of
from loradrift.judges.base import Judge, check_trait
from loradrift.judges.config import JudgeConfig, resolve_judge
from loradrift.judges.registry import JUDGES


@contextmanager
def open_judge(judge: JudgeConfig, data: DataConfig, cache: Path) -> Iterator[Judge]:
    """Open the judge that a configuration chooses.

    Args:
        judge: Which, and how.
        data: Where the traits' files are, and the answers that the classifier learns from.
        cache: Folder of what can be made again: the classifier, the replies of an endpoint.

    Raises:
        UserError: If there is no such judge, it cannot judge answers to such data, a file that it
            needs is missing or damaged, or it does not know one of ``judge.traits``.
    """
    judge = resolve_judge(judge, data)
    check(judge.name in JUDGES, "judge", one_of(list(JUDGES)), judge.name)
    if data.name not in ("embedded", "local"):
        raise UserError(f"data={data.name} has no personas: data=embedded or data=local has them")
    with JUDGES[judge.name].open(judge, data, cache) as opened:
        for trait in judge.traits:
            check_trait(opened, trait, "judge.traits")
        yield opened
