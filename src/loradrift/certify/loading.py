"""Load the model that an adapter is for: of a run, of transformers, or of sentence-transformers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.certify.adapter_files import AdapterFiles
from loradrift.certify.hosts import MAX_TOKENS, TEXTS, Host
from loradrift.config import ModelConfig, UserError
from loradrift.models import check_path

BLOCKS = ("layers.", "layer.", "h.", "blocks.", "encoder.", "decoder.")
"""How a module's name begins inside a transformer without a head around it."""


def load_host(files: AdapterFiles, base: str, *, is_run: bool) -> Host:
    """The base model in eval mode, of the kind that the adapter is for.

    Raises:
        UserError: If there is no such model here, or a library is missing.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    if _has(files.folder, "modules.json") or _has(Path(base), "modules.json"):
        return _sentence_transformer(base)
    check_path(ModelConfig(name="local", path=base))
    kind, loader, options = _kind(files, base)
    try:
        model = loader.from_pretrained(
            base, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"base={base} cannot be loaded: {_line(error)}") from None
    inner = model.base_model_prefix if hasattr(model, model.base_model_prefix) else ""
    head = None
    if is_run:
        kind = "run"
        if files.head is not None and {"weight", "bias"} <= files.head.keys():
            head = nn.Linear(*files.head["weight"].shape[::-1])
            head.load_state_dict(files.head)
    return Host(kind, model.eval(), inner, _token_ids(base, model), head, options)


def _kind(files: AdapterFiles, base: str) -> tuple[str, Any, dict[str, Any]]:
    """Which of transformers' classes, by the adapter's task and the base's architecture."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(base, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"base={base} cannot be loaded: {_line(error)}") from None
    architecture = (getattr(config, "architectures", None) or [""])[0]
    task = files.config.get("task_type")
    if task == "SEQ_CLS" or (task is None and architecture.endswith("SequenceClassification")):
        labels = [
            x.shape[0]
            for key, x in files.saved.items()
            if key.endswith(("score.weight", "classifier.weight"))
        ]
        options = {"num_labels": labels[0]} if labels else {}
        return "classifier", transformers.AutoModelForSequenceClassification, options
    headless = all(name.startswith(BLOCKS) for name in files.parts)
    if task == "CAUSAL_LM" or (task is None and "CausalLM" in architecture and not headless):
        return "causal LM", transformers.AutoModelForCausalLM, {}
    return "transformer", transformers.AutoModel, {}


def _sentence_transformer(base: str) -> Host:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UserError(
            f"base={base} is a sentence-transformers model, and sentence-transformers is not "
            "installed: pip install 'loradrift[sentence]'"
        ) from None
    try:
        model = SentenceTransformer(
            base, device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"base={base} cannot be loaded: {_line(error)}") from None
    return Host("sentence-transformers", model.eval().float(), inner_name(model), torch.zeros(0, 0))


def inner_name(model: Any) -> str:
    """Where a sentence-transformers model keeps its transformer.

    Older releases keep it as ``auto_model``, current ones as ``model``.
    """
    first = next(name for name, _ in model.named_children())
    inside = dict(model.get_submodule(first).named_children())
    for name in ("model", "auto_model"):
        if name in inside:
            return f"{first}.{name}"
    raise UserError(
        f"the first module of the sentence-transformers model keeps its transformer neither as "
        f"model nor as auto_model, but has {', '.join(inside)}"
    )


def _token_ids(base: str, model: Any) -> Tensor:
    """The texts' tokens, cut to one length so that nothing is padded."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        rows: list[list[int]] = [tokenizer(text)["input_ids"] for text in TEXTS]
    except (OSError, ValueError):  # any tokens will do
        count = int(model.config.vocab_size)
        rows = [
            [(7 * i + 13 * j + 1) % count for j in range(MAX_TOKENS)] for i in range(len(TEXTS))
        ]
    length = min(MAX_TOKENS, *map(len, rows))
    return torch.tensor([row[:length] for row in rows])


def _has(folder: Path, name: str) -> bool:
    return (folder / name).is_file()


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
