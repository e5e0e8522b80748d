"""Records read from ``run.json``, of this schema and of earlier ones."""

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.config.keys import flatten
from loradrift.config.variants import present_variant
from loradrift.files import read_json
from loradrift.runs.record import SCHEMA_VERSION, RunRecord, Status

OBJECTS = (
    "coordinates", "config", "git", "versions", "fingerprints", "start", "task", "parameters",
    "rows", "budget", "metrics", "performance", "exported", "collapse",
)  # fmt: skip
TYPES = dict.fromkeys(OBJECTS, (dict, "an object")) | {
    "kind": (str, "text"),
    "phase": (str, "text"),
    "overrides": (list, "a list"),
}
"""JSON type of a field, and how a message names it."""


def read_record(folder: Path) -> RunRecord | None:
    """The record in ``folder``; ``None`` if there is none yet.

    Raises:
        UserError: If the file is damaged or of an unknown schema version.
    """
    path = folder / "run.json"
    try:
        fields = read_json(path)
        if not isinstance(fields, dict):
            raise TypeError(f"a record must be an object, got {type(fields).__name__}")
        version = fields.get("schema_version")
        if type(version) is not int or version < 1:
            raise TypeError(f"schema_version must be a whole number from 1 on, got {version!r}")
        if version <= SCHEMA_VERSION:
            _check_fields(fields)
        else:
            raise UserError(
                f"{path} has schema_version {version}, and this program reads up to "
                f"{SCHEMA_VERSION}: update loradrift, or move the run away and train it again"
            )
        if version == 1:
            fields |= _before_schema_2(fields)
        fields["schema_version"] = SCHEMA_VERSION  # 2 lacks the budget, 3 the start, 4 exported
        place = fields["coordinates"]
        if "~" in str(place.get("variant")):
            place["variant"] = present_variant(place["variant"], fields.get("overrides", []))
        return RunRecord(**{**fields, "status": Status(fields["status"])})
    except FileNotFoundError:
        return None
    except UserError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, why: str) -> UserError:
    """The error of a record that cannot be used."""
    return UserError(
        f"{path} is damaged ({why}); its own command with force=true archives the run and starts "
        "anew"
    )


def _check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse a record with a key or a type that none has; TypeError says which."""
    known = {each.name for each in dataclass_fields(RunRecord)}
    if unknown := sorted(fields.keys() - known):
        raise TypeError(f"it holds {unknown[0]}, which is no key of a record")
    if lost := [key for key in ("coordinates", "config", "status") if key not in fields]:
        raise TypeError(f"it lacks {lost[0]}")
    for key, (kind, name) in TYPES.items():
        if key in fields and not isinstance(fields[key], kind):
            raise TypeError(f"{key} must be {name}, got {type(fields[key]).__name__}")


def _before_schema_2(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What schema 1 left to the names of folders: a run's phase, and about what was typed."""
    place, config = fields["coordinates"], flatten(fields["config"])
    study, _, suffix = str(place.get("study", "")).rpartition(".")
    phase = suffix if study and suffix in ("sanity", "search") else "production"
    own = dict.fromkeys(("majority", "random", "zero_shot", "abstain"), "baselines")
    phase = (own | {"from_scratch": "base"}).get(place.get("method", ""), phase)
    parts = [part for part in str(place.get("variant", "")).split(",") if "=" in part]
    overrides = [f"{key}={place[key]}" for key in ("task", "method", "seed") if key in place]
    # a path is in the variant as its last part and a digest: the configuration has it whole
    overrides += [
        f"{(key := part.partition('=')[0])}={config.get(key)}" if "~" in part else part
        for part in parts
    ]
    return {"phase": phase, "overrides": overrides}
