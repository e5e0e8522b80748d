"""What a run reads, whatever its method: rows, tokens, the probe, and their fingerprints."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loradrift.activations import Probe
from loradrift.config import ModelConfig
from loradrift.data import Collator, Rows, Splits, TokenTable
from loradrift.stopwatch import Seconds


@dataclass(frozen=True)
class PreparedData:
    """Everything that does not depend on the method."""

    model: ModelConfig  # with ``path`` filled in

    tokenizer: Any
    splits: Splits[Any]
    train: Rows
    validation: Rows
    evaluation: Rows
    collate: Collator
    probe: Probe | None
    retention: TokenTable | None
    """Text on which forgetting is measured; None where it is not."""

    fingerprints: dict[str, str]
    """Of what a fair comparison needs to be equal, as in the run's record."""

    model_time: Seconds
    """What it took to find the base model: a minute where ``model=tiny`` had to be made first,
    which is for all runs, so that no run counts it."""

    cache: Path
    """For what a task makes once."""

    start: dict[str, Any] = field(default_factory=dict)
    """``start`` of the run's record."""

    @property
    def weights_fingerprint(self) -> str:
        """Digest of the weights that training begins with."""
        return str(self.start.get("fingerprint") or self.fingerprints["base_model"])

    @property
    def tables(self) -> dict[str, Rows]:
        """The splits' rows by name."""
        return {"train": self.train, "validation": self.validation, "evaluation": self.evaluation}

    @property
    def num_rows(self) -> dict[str, int]:
        """Rows of each split, and how many were cut to ``task.max_length``."""
        counts = {name: len(table) for name, table in self.tables.items()}
        counts["truncated"] = sum(table.num_truncated for table in self.tables.values())
        for name, table in self.tables.items():
            counts |= {f"{name}_{key}": count for key, count in table.counts.items()}
        return counts | dict(self.splits.counts)

    @property
    def lossy(self) -> dict[str, tuple[str, ...]]:
        """Ids of the examples whose target is lost on the way to tokens, by split."""
        return {name: table.lossy for name, table in self.tables.items() if table.lossy}
