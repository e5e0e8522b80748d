"""What happened while the runs trained: losses, F1, collapse measures and alarms by step."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.reading import ReconstructionRun

MEASURES = (
    "unique_share", "top_answer_share", "distinct_1", "distinct_2", "repeated_ngram_rate",
    "self_bleu", "top_token_share", "vendi", "latent_cosine", "first_component_share",
    "first_token_entropy", "swapped_gap", "rms_ratio", "lora_gradient", "head_gradient",
)  # fmt: skip
"""Below ``collapse`` in a run's ``diagnostics.jsonl``."""


def training_table(
    runs: Sequence[ReconstructionRun], arms: Mapping[ReconstructionRun, Arm]
) -> pd.DataFrame:
    """A row for each run and evaluation: validation figures, losses of training, measures."""
    rows = []
    for run in runs:
        for line in run.diagnostics:
            row: dict[str, Any] = {"arm": arms[run].text, "seed": run.seed, "step": line["step"]}
            row |= {
                key: value
                for key, value in line.items()
                if isinstance(value, int | float) and key not in row and key != "collapsed"
            }
            row |= {f"train/{k}": v for k, v in (line.get("train") or {}).items()}
            own = line.get("collapse") or {}
            row |= {f"collapse/{name}": own.get(name) for name in MEASURES if name in own}
            row |= {"alarm": bool(line.get("collapsed")), "cause": line.get("cause")}
            rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["arm", "seed", "step", "alarm", "cause"])


def collapse_table(
    runs: Sequence[ReconstructionRun], arms: Mapping[ReconstructionRun, Arm]
) -> pd.DataFrame:
    """Alarms of each run: ``evaluations``, ``alarms``, ``causes``, the first one's ``reasons``."""
    rows = []
    for run in runs:
        found = run.record.collapse
        causes = found.get("causes") or {}
        rows.append(
            {
                "arm": arms[run].text,
                "seed": run.seed,
                "status": str(run.record.status),
                "evaluations": found.get("evaluations"),
                "alarms": found.get("alarms"),
                "causes": ", ".join(f"{cause} {n}" for cause, n in causes.items()),
                "first_step": found.get("first_step"),
                "reasons": "; ".join(found.get("reasons") or []),
            }
        )
    return pd.DataFrame(rows)
