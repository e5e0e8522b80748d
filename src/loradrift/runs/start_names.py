"""How a run is called that starts from another run, and how its configuration says so."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradrift.config import Config, ModelConfig
from loradrift.config.variants import LONGEST_LOSSY, variant

AFTER = "after"
"""Key of the part of a variant that names the tasks before."""


@dataclass(frozen=True)
class Upstream:
    """What another run starts from: a finished run, or one that a study has planned."""

    folder: str
    """As typed."""

    runs: Path
    """The folder of all runs that it is in, or its own where it was moved out of one."""

    place: Mapping[str, Any]
    """Its own coordinates."""

    chain: tuple[Mapping[str, Any], ...]
    """Those of the runs before it."""

    attention: str
    weights: str
    """A digest of what it left; empty if it is planned."""


def starting(config: Config, overrides: Sequence[str], upstream: Upstream) -> Config:
    """The configuration of a run that starts from ``upstream``; ``overrides`` are its own."""
    typed = {each.partition("=")[0] for each in overrides}
    attention = config.model.attention if "model.attention" in typed else upstream.attention
    runs, place = Path(config.runs).resolve(), Path(upstream.folder).resolve()
    # the same from wherever it is typed, and after a move of the folder that holds the runs
    known = Path(runs.name, place.relative_to(runs)) if upstream.runs == runs else place
    start = {"run": upstream.folder, "chain": [*upstream.chain, dict(upstream.place)]}
    if upstream.weights:
        start["weights"] = upstream.weights
    config.model = ModelConfig(name="local", path=str(known), attention=attention)
    config.start = start
    config.variant = variant_after(config, variant(overrides), upstream)
    config.earlier_variant = None
    return config


def variant_after(config: Config, typed: str, upstream: Upstream) -> str:
    """What was ``typed``, but for the model, of which the chain's first run says which it is.

    ``after=…`` in its place names the tasks before, and with a digest what else is not the same as
    before: study, method, seed, variant, or the folder of all runs.
    """
    own, theirs = _by_key(typed), _by_key(str(upstream.place["variant"]))
    for key in ("model", "model.path"):
        own.pop(key, None)
    before = theirs.pop(AFTER, "").partition("=")[2]
    own = {key: part for key, part in theirs.items() if key.split(".")[0] == "model"} | own
    here = {"study": config.study.name, "method": config.method.name, "seed": config.seed}
    others = {key: upstream.place[key] for key in here if upstream.place[key] != here[key]}
    shown = [f"seed{each}" if key == "seed" else str(each) for key, each in others.items()]
    if own != theirs:
        others["variant"] = upstream.place["variant"]
        shown += [part for key, part in theirs.items() if own.get(key) != part][:1]
    if upstream.runs != Path(config.runs).resolve():
        others["runs"] = str(upstream.runs)
    link = ".".join([str(upstream.place["task"]), *map(_plain, shown)])
    if others:
        digest = hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()
        link += f"~{digest[:8]}"
    chained = "+".join(filter(None, [before, link]))
    return ",".join(sorted([*own.values(), f"{AFTER}={chained}"]))


def _by_key(text: str) -> dict[str, str]:
    """The parts of a variant by their keys."""
    return {part.partition("=")[0]: part for part in text.split(",") if part}


def _plain(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text)[-LONGEST_LOSSY:]
