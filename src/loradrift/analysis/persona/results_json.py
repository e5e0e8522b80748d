"""``persona.json``: what was found, in numbers for other programs."""

from typing import Any

import pandas as pd

from loradrift.analysis.persona.tables import Persona
from loradrift.analysis.plain_json import plain, rows

TABLES = ("gains", "differences", "doses", "trends", "entanglement", "composition", "prevention")

UNITS = {
    "score": "points, 0 to 100", "coherence": "points, 0 to 100", "gain": "points over no steering",
    "area": "mean gain over coherences from 50 to 100", "loss": "nats per token",
    "accuracy": "share", "intervals": "95 %, over questions",
}  # fmt: skip


def persona_json(persona: Persona) -> dict[str, Any]:
    """Everything; what is not defined is null."""
    compared, settings = persona.compared, persona.settings
    cell = compared.judged[0].cell
    efficiency = persona.efficiency
    found: dict[str, Any] = plain(
        {
            "schema": 1,
            "model": cell.record.coordinates.get("model"),
            "base_model": cell.record.fingerprints.get("base_model"),
            "judge": {"name": compared.judge, **compared.judged[0].facts},
            "coherence": settings.coherence,
            "margin": settings.margin,
            "findings": {
                name: {**found._asdict(), "verdict": str(found.verdict)}
                for name, found in persona.findings.items()
            },
            **{name: rows(persona.tables[name]) for name in TABLES},
            "efficiency": None if efficiency is None else {
                "cell": efficiency.name, "overheads": rows(efficiency.overheads),
                "memory": efficiency.memory,
            },
            "answers": counts(persona.tables["answers"]),
            "missing": persona.missing,
            "problems": persona.problems,
            "units": UNITS,
        }
    )  # fmt: skip
    return found


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Answers by status, over all cells."""
    names = ("answers", "scored", "empty", "refusal", "unparsable", "unjudged")
    return {name: int(table[name].sum()) for name in names}
