"""What the tests of real vLLM have it serve, and ask it."""

import json
from pathlib import Path

import torch
from adapter_cases import (
    CLASSIFIER,
    CONFIG,
    load_adapter,
    read_config,
    rewrite,
    write_adapter,
    write_base,
)

KINDS = {
    "plain": {"r": 4, "lora_alpha": 8},
    "wide": {"r": 9, "lora_alpha": 3, "use_rslora": True, "target_modules": "all-linear"},
    "uneven": {"r": 4, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 32}},
}
WIDE = {"embeds": ["embed_tokens", "q_proj"], "heads": ["lm_head", "q_proj"]}
"""Adapters of an embedding and of a head, be they tied or not."""

PROMPTS = [(1, 40, 41, 42), (1, 50), (1, *range(60, 80)), (1, 70, 71), (9, 8, 7, 6)]
NAMES = ["plain", None, "wide", "uneven", "plain"]
LABELS = {"two": 2, "three": 3}


def make_plan(place: Path, model_folder: Path) -> dict:
    """Adapters, good and bad, a merged model, and classifiers; written to ``place``."""
    adapters = {
        name: write_adapter(place / name, model_folder, size=0.2, **kind)
        for name, kind in KINDS.items()
    }
    merged = load_adapter(adapters["plain"], model_folder).merge_and_unload()
    merged.save_pretrained(place / "merged")
    bad = {"large": write_adapter(place / "large", model_folder, r=17)}
    for name in ("dora", "damaged"):
        bad[name] = write_adapter(place / name, model_folder)
    (bad["dora"] / CONFIG).write_text(json.dumps(read_config(bad["dora"]) | {"use_dora": True}))
    (bad["damaged"] / "adapter_model.safetensors").write_bytes(b"\x10")
    bad["absent"] = place / "absent"
    wide = {}
    for tied in (False, True):
        size = {"num_attention_heads": 1, "vocab_size": 300, "tie_word_embeddings": tied}
        base = write_base(place / f"tied={tied}", "llama", **size)
        wide[str(tied)] = (
            base,
            {
                name: write_adapter(
                    place / f"{name}-{tied}", base, size=0.2, target_modules=targets
                )
                for name, targets in WIDE.items()
            },
        )
    heads = {name: _classifier(place / name, model_folder, n) for name, n in LABELS.items()}
    asked = [(ids, ["two", "three"][i % 2]) for i, ids in enumerate(PROMPTS)]
    return {
        "model": model_folder,
        "adapters": adapters,
        "merged": place / "merged",
        "bad_adapters": bad,
        "doomed": write_adapter(place / "doomed", model_folder, size=0.3),
        "requests": list(zip(PROMPTS, NAMES, strict=True)),
        "wide": wide,
        "classifiers": heads,
        "labels": LABELS,
        "to_classify": asked,
    }


def _classifier(folder: Path, base: Path, labels: int) -> Path:
    """An adapter with a head that has a bias, as ``benchmark=export`` writes them."""
    options = {key: value for key, value in CLASSIFIER.items() if key != "kind"}
    write_adapter(folder, base, size=0.1 * labels)
    config = read_config(folder) | options | {"modules_to_save": ["score"]}
    (folder / CONFIG).write_text(json.dumps(config))
    draws = torch.Generator().manual_seed(labels)
    head = {
        "base_model.model.score.weight": torch.randn(labels, 32, generator=draws),
        "base_model.model.score.bias": torch.randn(labels, generator=draws),
    }
    rewrite(folder, lambda tensors: tensors | head)
    return folder
