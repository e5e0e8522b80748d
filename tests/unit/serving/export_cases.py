"""Finished runs on disk that nothing has trained, and what their models say."""

import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from adapter_cases import load_base, write_adapter
from safetensors.torch import save_file

from loradrift.files import write_json
from loradrift.runs import Status
from loradrift.runs.record import new_record

IDS = torch.tensor([[1, 40, 41, 42, 43], [1, 50, 51, 52, 53]])


def write_run(folder: Path, base: Path, method: str = "lora", **changes) -> Path:
    """A run of sst2 with a head of two labels; ``changes`` are of its record."""
    model = folder / "model"
    if method in ("full_finetune", "head_only"):
        lm = load_base(base)
        if method == "full_finetune":
            torch.manual_seed(5)
            with torch.no_grad():
                for p in lm.parameters():
                    p.add_(0.02 * torch.randn(p.shape))
        lm.save_pretrained(model)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(base / name, model)
    elif method in ("lora", "dora"):
        write_adapter(model, base, size=0.2, task_type="CAUSAL_LM", use_dora=method == "dora")
    if model.is_dir():
        torch.manual_seed(6)
        head = {"weight": torch.randn(2, 32), "bias": torch.tensor([1.5, -0.5])}
        save_file(head, model / "head.safetensors")
    place = {"study": "main", "task": "sst2", "method": method, "variant": "", "seed": 1}
    config = {"model": {"name": "local"}, "data": {"name": "embedded"}, "method": {}}
    record = asdict(new_record(config, "training", "production", place, []))
    status = {"status": Status.SUCCESS, "task": {"label": "SST-2", "head": True}}
    write_json(folder / "run.json", record | status | changes)
    return folder


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def head_logits(model, folder: Path) -> torch.Tensor:
    """What a run's head says: weight times the last token's final hidden state, plus its bias."""
    from safetensors.torch import load_file

    head = load_file(folder / "model" / "head.safetensors")
    with torch.no_grad():
        hidden = model.eval()(input_ids=IDS, output_hidden_states=True).hidden_states[-1]
    return hidden[:, -1] @ head["weight"].T + head["bias"]
