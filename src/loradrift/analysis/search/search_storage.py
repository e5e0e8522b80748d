"""Where a study's searches are: their storage, opened for reading."""

from pathlib import Path
from typing import TYPE_CHECKING

from loradrift.config import AnalysisConfig, UserError

if TYPE_CHECKING:
    import optuna


def open_searches(config: AnalysisConfig, storage: str | None) -> list["optuna.Study"]:
    """Open the searches of one study, by task and method.

    Without a study it is the only one that there is; without a storage, the study's own file.

    Raises:
        UserError: If there is no such storage, study or search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not storage:
        folder = Path(config.runs, ".search")
        stored = sorted(path.stem for path in folder.glob("*.db"))
        if config.study is None and len(stored) > 1:
            raise UserError(f"analysis.study must be one of {', '.join(stored)}, got null")
        storage = f"sqlite:///{folder / (config.study or next(iter(stored), 'main'))}.db"
    found = _connect(storage)
    names = sorted(name for name in optuna.get_all_study_names(found) if name.count("/") == 2)
    studies = sorted({name.partition("/")[0] for name in names})
    wanted = config.study or (studies[0] if len(studies) == 1 else None)
    if wanted not in studies:
        there = f"of {', '.join(studies)}" if studies else "that was searched (there is none)"
        raise UserError(f"analysis.study must be one {there}, got {config.study or 'null'}")
    mine = [name for name in names if name.startswith(f"{wanted}/")]
    return [optuna.load_study(study_name=name, storage=found) for name in mine]


def _connect(url: str) -> "optuna.storages.BaseStorage":
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    from loradrift.sweeping.storage import engine_options, hint, read_url, reason

    parsed = read_url("storage", url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise UserError(
            f"storage={url}: there is no {parsed.database}; `python train.py search=lora -m` "
            "makes one, storage=… names another"
        )
    try:
        return RDBStorage(url, engine_kwargs=engine_options(parsed), skip_table_creation=True)
    except (ImportError, NoSuchModuleError):
        raise UserError(f"storage={url} needs a driver: pip install '.[cluster]'") from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        why = reason(error)
        text = f"storage={url} cannot be read as an Optuna storage: {why}{hint(parsed, why)}"
        raise UserError(text) from None
