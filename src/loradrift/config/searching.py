"""One trial of a search; the sweeper fills it in."""

from dataclasses import dataclass

from loradrift.config.errors import check

PRUNERS = ("median", "hyperband", "successive_halving", "none")


@dataclass(kw_only=True)
class SearchConfig:
    """Which trial of which Optuna study a run is, and what may end it early; else nulls."""

    storage: str | None = None
    """URL of the Optuna storage."""

    study: str | None = None
    """Name of the Optuna study in it."""

    trial: int | None = None
    """The trial's number in the study."""

    pruner: str = "none"
    """``median`` (worse than half of the trials at the same step), ``hyperband``,
    ``successive_halving`` or ``none``."""

    full_trials: int = 3
    """The median pruner lets so many trials come to their end before it prunes any."""

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.storage, self.study, self.trial)]
        rule = "given together with search.study and search.trial"
        check(all(given) or not any(given), "search.storage", rule, self.storage)
        check(self.pruner in PRUNERS, "search.pruner", " or ".join(PRUNERS), self.pruner)
        check(self.full_trials > 0, "search.full_trials", "positive", self.full_trials)
