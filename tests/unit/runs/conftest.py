"""Runs written to disk that other runs can start from, and the arguments that start them."""

import json

import pytest

from loradrift.files import sha256_of
from loradrift.runs import read_record
from loradrift.runs.links import Link, weights_digest
from loradrift.runs.starts import start_at_run


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """``planted(task, method)`` is the folder of a finished run, relative to here."""
    monkeypatch.chdir(tmp_path)

    def plant(task="rte", method="lora", *, study="main", variant="", seed=1, runs="runs", **own):
        name = f"{method},{variant}" if variant else method
        folder = tmp_path / runs / study / task / name / f"seed={seed}"
        (folder / "model").mkdir(parents=True)
        place = {"study": study, "task": task, "method": method, "variant": variant, "seed": seed}
        record = {
            "schema_version": 4, "status": "success", "coordinates": place,
            "config": {"model": {"name": "tiny", "weights": "pretrained"}},
            "fingerprints": {"base_model": "b" * 64},
        }  # fmt: skip
        adapted = method == "lora"
        config = "adapter_config.json" if adapted else "config.json"
        (folder / "model" / config).write_text("{}")
        record["certificate"] = {"passed": True} if adapted else None
        (folder / "model/model.safetensors").write_text(f"weights of {folder}")
        (folder / "run.json").write_text(json.dumps(record | own))
        return str(folder.relative_to(tmp_path))

    return plant


@pytest.fixture
def begin(load):
    """The configuration of a run with ``model=local`` and a path, and what else is typed."""

    def resolve(path, *typed, task="mrpc", method="lora", seed=1):
        own = [f"task={task}", f"method={method}", f"seed={seed}", "model=local", *typed]
        return start_at_run(load(*own, f"model.path='{path}'"), [*own, f"model.path='{path}'"])

    return resolve


@pytest.fixture
def after():
    """``after(folder)`` is what the record has of a run that started from the run in a folder."""

    def recorded(folder):
        record = read_record(folder)
        chain = [*record.start.get("chain", []), record.coordinates]
        weights = weights_digest(Link(folder, record), sha256_of)
        return {
            "start": {"chain": chain, "run": str(folder), "fingerprint": "f" * 64},
            "config": {"model": record.config["model"], "start": {"weights": weights}},
        }

    return recorded
