"""One trial of a search; the sweeper fills it in."""

from dataclasses import dataclass

from loradrift.config.errors import require


@dataclass(kw_only=True)
class SearchConfig:
    """Which trial of which Optuna study a run is; nulls if it is none."""

    storage: str | None = None
    """URL of the Optuna storage."""

    study: str | None = None
    """Name of the Optuna study in it."""

    trial: int | None = None
    """The trial's number in the study."""

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.storage, self.study, self.trial)]
        rule = "given together with search.study and search.trial"
        require(all(given) or not any(given), "search.storage", rule, self.storage)
