"""What a run leaves of its ladder: every row of every rung, what they say, and a few texts."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from loradrift.data.reconstruction import EncodedContexts
from loradrift.statistics.clustered import Resampling
from loradrift.statistics.intervals import Interval
from loradrift.tasks.reconstruction.ladder.rungs import BASE_RUNGS, OWN_RUNGS, RungRow

EXAMPLES = 12
"""Rows whose texts are kept."""

ORDER = (*BASE_RUNGS[:-1], *OWN_RUNGS, BASE_RUNGS[-1])
"""From the full text to nothing."""


def ladder_files(table: EncodedContexts, found: Mapping[str, Sequence[RungRow]]) -> dict[str, Any]:
    """The files of a run by name; none where no rung was answered."""
    if not found:
        return {}
    frame = ladder_frame(table, found)
    return {
        "ladder.parquet": frame,
        "ladder.json": ladder_facts(frame),
        "examples.json": example_rows(table),
    }


def flag_lines(table: EncodedContexts, found: Mapping[str, Sequence[RungRow]]) -> list[str]:
    """A notice for each flag that is set."""
    facts = ladder_facts(ladder_frame(table, found))
    means, lines = facts["rungs"], []
    if facts["latent_ignored"]:
        gap = facts["soft_prompt_less"]["swapped"]
        lines.append(
            "error: the latents are ignored: with those of other rows F1 changes by "
            f"{-gap['f1']['estimate']:.2g} points and the gold loss by "
            f"{-gap['gold_loss']['estimate']:.2g} nats"
        )
    if facts["below_no_context"]:
        own, nothing = means["soft_prompt"], means["no_context"]
        lines.append(
            f"error: below no context: F1 {own['f1']:.3g} against {nothing['f1']:.3g}, gold loss "
            f"{own['gold_loss']:.3g} against {nothing['gold_loss']:.3g}"
        )
    return lines


def ladder_frame(table: EncodedContexts, found: Mapping[str, Sequence[RungRow]]) -> pd.DataFrame:
    """``ladder.parquet``: a row for each rung and row of the table.

    Columns ``rung``, ``id``, ``context`` (a digest: rows of one context are no independent draws),
    ``positions``, ``bytes``, ``answer``, ``f1``, ``em``, ``gold_loss``.
    """
    digests = {row.context: _digest(row.context) for row in table.rows}
    rows = [
        {
            "rung": rung,
            "id": table.ids[row.row],
            "context": digests[table.rows[row.row].context],
            "positions": row.positions,
            "bytes": row.num_bytes,
            "answer": row.answer,
            "f1": row.f1,
            "em": row.em,
            "gold_loss": row.gold_loss,
        }
        for rung in ORDER
        for row in found.get(rung, ())
    ]
    return pd.DataFrame(rows)


def ladder_facts(frame: pd.DataFrame) -> dict[str, Any]:
    """``ladder.json``: means by rung, bytes, and the flags with their intervals over rows.

    ``latent_ignored``: neither F1 nor gold loss gets worse with another row's latents.
    ``below_no_context``: F1 is lower, or the gold loss higher, than without a context. Null where
    a rung is missing.
    """
    rungs = {str(rung): own.set_index("id") for rung, own in frame.groupby("rung", sort=False)}
    columns = ["positions", "bytes", "f1", "em", "gold_loss"]
    means = {rung: own[columns].mean().to_dict() for rung, own in rungs.items()}
    gaps = {
        against: {column: _gap(rungs, against, column) for column in ("f1", "gold_loss")}
        for against in ("swapped", "no_context")
    }
    swapped, nothing = gaps["swapped"], gaps["no_context"]
    ignored = below = None
    if swapped["f1"] and swapped["gold_loss"]:
        better = swapped["f1"].low > 0, swapped["gold_loss"].high < 0
        ignored = not any(better)
    if nothing["f1"] and nothing["gold_loss"]:
        below = nothing["f1"].estimate < 0 or nothing["gold_loss"].estimate > 0
    facts: dict[str, Any] = {
        "rungs": means,
        "latent_ignored": ignored,
        "below_no_context": below,
        "soft_prompt_less": {
            against: {column: _plain(interval) for column, interval in own.items()}
            for against, own in gaps.items()
        },
    }
    if "full_text" in means and "soft_prompt" in means:
        text, own = means["full_text"], means["soft_prompt"]
        facts |= {
            "text_bytes": text["bytes"],
            "latent_bytes": own["bytes"],
            "compression": text["bytes"] / own["bytes"],
            "bits_per_token": 8 * own["bytes"] / text["positions"],
        }
    return facts


def _gap(rungs: Mapping[str, pd.DataFrame], against: str, column: str) -> Interval | None:
    """The soft prompt's mean less another rung's, paired by row."""
    if "soft_prompt" not in rungs or against not in rungs:
        return None
    own = rungs["soft_prompt"]
    difference = own[column] - rungs[against].loc[own.index, column]
    return Resampling(list(own["context"]), seed=0).mean(difference.to_numpy(float)).interval()


def _plain(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    values = interval._asdict()
    ends = {name: values[name] for name in ("estimate", "low", "high")}
    return {name: value if math.isfinite(value) else None for name, value in ends.items()}


def example_rows(table: EncodedContexts) -> list[dict[str, Any]]:
    """``examples.json``: texts of a few rows, evenly spread, that a report may show."""
    step = max(1, len(table.rows) // EXAMPLES)
    return [
        {"id": row.id, "context": row.context, "question": row.question, "gold": list(row.answers)}
        for row in list(table.rows)[::step][:EXAMPLES]
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
