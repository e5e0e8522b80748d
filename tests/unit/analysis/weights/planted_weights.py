"""A base model and weight changes that are known, below the runs that ``planted`` writes."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
from planted import QUICK, write_run
from safetensors.torch import save_file

from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.tables import analyse
from loradrift.analysis.registry import make_config
from loradrift.analysis.weights.tables import Weights, find_weights
from loradrift.config import ModelConfig
from loradrift.models import model_fingerprint

OUTPUTS, INPUTS, RANK = 24, 16, 2
QUERY = [f"model.layers.{layer}.self_attn.q_proj" for layer in (0, 1)]
GATE = "model.layers.1.mlp.gate_proj"
"""LoRA leaves it alone."""

MODEL_TYPE = "llama"

SHRINK = 0.1
"""Full fine-tuning's change of the first query, in units of the weight itself."""


def base_weights() -> dict[str, torch.Tensor]:
    """Linear layers (24, 16), which leave 8 left directions free; a head; embeddings."""
    draw = torch.Generator().manual_seed(0)
    names = [*QUERY, GATE, "lm_head"]
    weights = {f"{name}.weight": torch.randn(OUTPUTS, INPUTS, generator=draw) for name in names}
    return weights | {"model.embed_tokens.weight": torch.randn(9, INPUTS, generator=draw)}


def new_directions(module: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Two left singular vectors (24, 2) that the base weight has not, and two right ones."""
    U_OO, _, Vh_II = torch.linalg.svd(base_weights()[f"{module}.weight"])
    return U_OO[:, -RANK:], Vh_II[:RANK].T


def write_full(folder: Path) -> None:
    """What full fine-tuning left: a shrunk query, one with two new directions, a moved head."""
    weights = base_weights()
    left_OR, right_IR = new_directions(QUERY[1])
    weights[f"{QUERY[0]}.weight"] *= 1 + SHRINK
    weights[f"{QUERY[1]}.weight"] += 100 * left_OR @ right_IR.T
    weights[f"{GATE}.weight"] *= 2
    weights["lm_head.weight"] += 1
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")


def write_lora(folder: Path, base: Path) -> None:
    """What LoRA left: new directions in the first query, nothing learned in the second."""
    left_OR, right_IR = new_directions(QUERY[0])
    tensors = {}
    for module, size in zip(QUERY, (50.0, 0.0), strict=True):
        prefix = f"base_model.model.{module}"
        tensors[f"{prefix}.lora_A.weight"] = right_IR.T.contiguous()
        tensors[f"{prefix}.lora_B.weight"] = size * left_OR.contiguous()
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 4, "use_rslora": False}
    text = json.dumps(config | {"base_model_name_or_path": str(base)})
    (folder / "adapter_config.json").write_text(text)


DEFAULT = {"full_finetune": 0.5, "lora": 0.2}
"""How far each arm drifts."""


def write_study(folder: Path, seeds: Sequence[int] = (1, 2), sizes=DEFAULT) -> Path:
    """A base model and the arms' runs with weights, ``base`` and ``runs`` below ``folder``."""
    base = folder / "base"
    base.mkdir(parents=True)
    (base / "config.json").write_text(json.dumps({"model_type": MODEL_TYPE}))
    save_file(base_weights(), base / "model.safetensors")
    model = ModelConfig(name="local", path=str(base), weights="pretrained")
    digest = model_fingerprint(model, seed=0, cache=folder / "cache")
    options = {"fingerprints": {"base_model": digest}, "model": {"path": str(base)}}
    options |= {"num_rows": 60} | QUICK
    for seed, (arm, size) in product(seeds, sizes.items()):
        method, _, variant = arm.partition(",")
        run = write_run(folder / "runs", method, seed, size=size, variant=variant, **options)
        if method == "full_finetune":
            write_full(run / "model")
        else:
            write_lora(run / "model", base)
    return folder


def measured(folder: Path) -> Weights:
    """The tables about the weights of these runs."""
    pairing = find_pairs(folder / "runs", None)
    tables = analyse(pairing, [], folder / "results", 0)
    places = {"runs": f"{folder}/runs", "results": f"{folder}/results"}
    return find_weights(make_config("weights", **places).analysis, pairing, tables)
