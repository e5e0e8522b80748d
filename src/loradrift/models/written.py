"""Whether an exported folder loads back as what was exported, to the bit."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.config import ModelConfig, UserError
from loradrift.models.backbone import Backbone, load_backbone
from loradrift.runs.model_files import ADAPTER_WEIGHTS, HEAD


def check_written(
    folder: Path,
    backbone: Backbone,
    head: nn.Module | None,
    tokenizer: Any,
    initial_adapter: Mapping[str, Tensor] | None = None,
) -> None:
    """Compare each file with what is in memory, read as those who use the folder read it.

    Arguments are those of :func:`~loradrift.models.export.export_model`.

    Raises:
        UserError: If a part does not load, or is another one; names it.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    lm = backbone.lm
    with _named("model"):
        if not isinstance(lm, PeftModel):
            attention = lm.config._attn_implementation
            model = ModelConfig(name="local", path=str(folder), attention=attention)
            _compare(load_backbone(model, seed=0).lm.state_dict(), lm.state_dict())
        else:
            wanted = get_peft_model_state_dict(lm)
            if initial_adapter is not None:
                wanted = _less_initial(wanted, initial_adapter)
            _compare(load_file(folder / ADAPTER_WEIGHTS), wanted)
    if head is not None:
        with _named("head"):
            _compare(load_file(folder / HEAD), head.state_dict())
    with _named("tokenizer"):
        again = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if _description(again) != _description(tokenizer):
            raise UserError("it gives other tokens")


def _less_initial(
    trained: Mapping[str, Tensor], initial: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The factors of ``B A - B0 A0``: stacked, with the sign in B."""
    first = {name.replace(".default.", "."): value for name, value in initial.items()}
    wanted = {}
    for key, value in trained.items():
        side = 0 if "lora_A" in key else 1
        start = first[key] if side == 0 else -first[key]
        wanted[key] = torch.cat([value, start.to(value.device)], dim=side)
    return wanted


def _compare(written: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    if odd := sorted(written.keys() ^ wanted.keys()):
        lost = "not written" if odd[0] in wanted else "written, and not part of it"
        raise UserError(f"{odd[0]} was {lost}")
    for key, value in wanted.items():
        if not torch.equal(written[key], value.detach().cpu()):
            raise UserError(f"{key} was written with other values")


def _description(tokenizer: Any) -> str:
    """Everything that decides which ids a text or a chat gets."""
    others = [tokenizer.special_tokens_map, tokenizer.chat_template]
    return str(tokenizer.backend_tokenizer.to_str()) + json.dumps(others, default=str)


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Whatever goes wrong while a part is read back is one line that names the part."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(f"the exported {part} does not load back as it is: {reason}") from error
