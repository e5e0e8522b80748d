"""A small world that is steered: traits, neutral text, a task, a model, a direction and its run."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from adapter_cases import write_adapter
from conftest import SIZES
from direction_cases import drawn_changes, write_direction
from safetensors.torch import load_file, save_file

from loradrift.config import DataConfig, ModelConfig, TinyModelConfig, TrainerConfig
from loradrift.judges import JudgeConfig
from loradrift.models import load_backbone, load_tokenizer, model_fingerprint, write_tiny
from loradrift.steering import bench
from loradrift.steering.config import SteeringBenchmarkConfig, SteeringConfig
from loradrift.steering.directions import direction_folder

LAYERS, WIDTH = 2, 32


class World(NamedTuple):
    """Where everything lies."""

    folder: Path
    root: Path
    base: Path
    direction: Path
    run: Path


def world_at(folder: Path) -> World:
    """The places of a world."""
    direction = direction_folder(folder / "results", "main", "cheerful", 0)
    return World(folder, folder / "data", folder / "base", direction, folder / "runs/positive")


def write_world(folder: Path) -> World:
    """Data, a model, a direction, and a run that might be its positive one."""
    world = world_at(folder)
    write_data(world.root)
    write_base(world.base)
    write_world_direction(world.direction, world.base)
    write_run(world.run, world.base)
    return world


def write_base(folder: Path) -> None:
    """A Llama of 2 layers, 32 wide, with random weights that do not repeat one token."""
    size = TinyModelConfig(name="tiny", vocab_size=300, max_positions=256, **SIZES)
    texts = ["is the film great", "was the film terrible", "question : answer : instruction :"]
    write_tiny(folder, size, texts * 9)
    random = ModelConfig(name="local", path=str(folder), weights="random")
    lm = load_backbone(random, seed=0).lm
    with torch.no_grad():
        for name, weight in lm.named_parameters():
            if "proj" in name:
                weight.mul_(10)
    lm.save_pretrained(folder)
    load_tokenizer(random).save_pretrained(folder)


def write_data(root: Path) -> Path:
    """Two traits in the public formats, WikiText's file name for neutral text, and SST-2."""
    for trait, word in (("cheerful", "great"), ("grim", "terrible")):
        pairs = [{"pos": f"{word} {i}", "neg": f"no {word} {i}"} for i in range(5)]
        for part, asks in (("traits", "was"), ("traits_eval", "is")):
            questions = [f"{asks} the film {trait} {i}" for i in range(4)]
            content = {"instruction": pairs, "questions": questions, "eval_prompt": "score"}
            path = root / "persona" / part / f"{trait}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
    (root / "corpus").mkdir()
    lines = [f"the film was great and the film was terrible {i} times over" for i in range(6)]
    (root / "corpus/valid.txt").write_text("\n".join(["short", *lines]))
    (root / "SST-2").mkdir()
    rows = [
        f"the film number {i} was {('terrible', 'great')[i % 3 > 0]}\t{i % 3 > 0:d}"
        for i in range(30)
    ]
    for split in ("train", "dev"):
        (root / f"SST-2/{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    return root


def write_world_direction(folder: Path, base: Path, trait: str = "cheerful") -> Path:
    """A direction of all linear layers, large enough to change answers."""
    shapes = {
        name.removesuffix(".weight"): tuple(value.shape)
        for name, value in load_file(base / "model.safetensors").items()
        if name.endswith("proj.weight")
    }
    changes = {name: replace(x, scale=0.05) for name, x in drawn_changes(modules=shapes).items()}
    facts = {"changes": changes, "base": base, "fingerprint": fingerprint(base)}
    return write_direction(folder, trait=trait, seed=0, layers=LAYERS, width=WIDTH, **facts)


def change_facts(folder: Path, **facts) -> None:
    """Write other facts into ``direction.json``."""
    path = folder / "direction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def write_run(folder: Path, base: Path, *, seed: int = 3, full: bool = False, **record) -> Path:
    """A finished run: an adapter with a passing certificate, or whole weights."""
    model = folder / "model"
    if full:
        shutil.copytree(base, model)
        weights = load_file(model / "model.safetensors")
        draw = torch.Generator().manual_seed(seed)
        for key, value in weights.items():
            if key.endswith("down_proj.weight"):
                weights[key] = value + 0.3 * torch.randn(value.shape, generator=draw)
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    else:
        write_adapter(model, base, size=0.3, target_modules=["q_proj", "down_proj"])
    files = {path.name: sha256(path) for path in sorted(model.glob("adapter*"))}
    values = {
        "schema_version": 3, "status": "success", "kind": "training",
        "coordinates": {
            "study": "main", "task": "persona", "seed": seed, "variant": "",
            "method": "full_finetune" if full else "lora",
        },
        "config": {"model": {"name": "local"}, "data": {"name": "local"}},
        "fingerprints": {"base_model": fingerprint(base)},
        "certificate": None if full else {"passed": True, "files": files},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(values | record))
    return folder


def fingerprint(base: Path) -> str:
    model = ModelConfig(name="local", path=str(base))
    return model_fingerprint(model, seed=0, cache=base.parent / "fingerprints")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_config(world, **keys) -> SteeringBenchmarkConfig:
    """A cell of a second; ``steering`` holds what differs there."""
    small = {"questions": 3, "max_tokens": 6, "batch_size": 2, "neutral_rows": 3, "task_rows": 7}
    steering = SteeringConfig(**small | keys.pop("steering", {}))
    values = {"trait": "cheerful", "arm": "none"} | keys
    values = {"runs": str(world.folder / "runs"), "judge": JudgeConfig(name="none")} | values
    return SteeringBenchmarkConfig(
        model=ModelConfig(name="local", path=str(world.base)),
        data=DataConfig(name="local", root=str(world.root)),
        trainer=TrainerConfig(name="cpu", threads=1),
        results=str(world.folder / "results"),
        cache=str(world.folder / "cache"),
        steering=steering,
        **values,
    )


def run(config, *overrides):
    """Make a cell; gives its record."""
    bench.run(config, overrides or (f"coefficient={config.coefficient}",))
    return json.loads((config.cell / "run.json").read_text())


def answers(config):
    with (config.cell / "answers.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(config, name):
    return json.loads((config.cell / name).read_text())
