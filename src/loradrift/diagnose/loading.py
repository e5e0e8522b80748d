"""Load the model that an adapter is for: of a run, of transformers, or of sentence-transformers."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import AdapterFiles
from loradrift.config import ModelConfig, UserError
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.made_up_inputs import made_up_inputs
from loradrift.diagnose.model_class import choose_class, kind_of
from loradrift.models import check_architecture, check_path, check_weights

SENTENCES = "modules.json"
"""What a sentence-transformers model has, and no other."""

FAILURES = (
    OSError, ValueError, TypeError, RuntimeError, KeyError, SafetensorError, StrictDataclassError,
)  # fmt: skip
"""What transformers raises of a model that is damaged or absent."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' bars and tables on what they load: what matters is an error."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@quiet()
def load_base(files: AdapterFiles, base: str, *, is_run: bool) -> LoadedBase:
    """Load the base model in eval mode, as the class that the adapter is for."""
    import transformers
    from transformers import AutoConfig, PreTrainedConfig

    if (files.folder / SENTENCES).is_file() or _is_sentence_model(base):
        return _sentence_transformer(base)
    check_base_path(base)
    with _failures_named(base):
        check_architecture(f"base={base}", PreTrainedConfig.get_config_dict(base)[0])
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    name, options = choose_class(files, config)
    with _failures_named(base):
        model, loaded = getattr(transformers, name).from_pretrained(
            base,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    inner = model.base_model_prefix if hasattr(model, model.base_model_prefix) else ""
    kind = kind_of(name, model)
    _check_loaded(base, kind, inner, loaded)
    check_weights(f"base={base}", model)
    head = None
    if is_run:
        kind = "run"
        if files.head is not None and {"weight", "bias"} <= files.head.keys():
            head = nn.Linear(*files.head["weight"].shape[::-1])
            head.load_state_dict(files.head)
    inputs = made_up_inputs(base, model)
    inner = "" if kind == "model" else inner  # the adapter's names are of the whole of it
    return LoadedBase(kind, name, model.eval(), inner, inputs, head, options)


def _sentence_transformer(base: str) -> LoadedBase:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        what = "sentence-transformers model, and sentence-transformers is not installed"
        raise UserError(f"base={base} is a {what}: pip install '.[sentence]'") from None
    options = {"use_safetensors": True, "dtype": torch.float32}
    with _failures_named(base):
        place = {"device": "cpu", "trust_remote_code": False}
        model = SentenceTransformer(base, model_kwargs=options, **place)
    kind, loader = "sentence-transformers", "SentenceTransformer"
    return LoadedBase(kind, loader, model.eval(), inner_name(model), {})


def inner_name(model: Any) -> str:
    """Where a sentence-transformers model keeps its transformer, by old releases or new."""
    first = next(name for name, _ in model.named_children())
    inside = dict(model.get_submodule(first).named_children())
    for name in ("model", "auto_model"):
        if name in inside:
            return f"{first}.{name}"
    raise UserError(
        "the first module of the sentence-transformers model keeps its transformer neither as "
        f"model nor as auto_model, but has {', '.join(inside)}"
    )


def _is_sentence_model(base: str) -> bool:
    if Path(base).is_dir():
        return (Path(base) / SENTENCES).is_file()
    from transformers.utils import cached_file

    try:
        return cached_file(base, SENTENCES) is not None
    except (OSError, ValueError):  # no such file, no such model, no network
        return False


def check_base_path(base: str) -> None:
    """Refuse a local folder that is no model: without a configuration or safetensors."""
    if Path(base).is_dir() and _is_sentence_model(base):
        # beside the transformer or in the folder of its module, it would be applied
        if beside := [*Path(base).glob(CONFIG), *Path(base).glob(f"*/{CONFIG}")]:
            raise UserError(
                f"base={base} must hold a model alone, and holds an adapter too ({beside[0]})"
            )
        return
    try:
        check_path(ModelConfig(name="local", path=base))
    except UserError as error:
        raise UserError(str(error).replace("model.path=", "base=", 1)) from None


def _check_loaded(base: str, kind: str, inner: str, loaded: dict[str, Any]) -> None:
    """Refuse weights that left a part of the transformer at a random start."""
    lost = sorted(map(str, [*loaded["missing_keys"], *loaded["mismatched_keys"]]))
    if kind != "causal LM":  # a head or a pooler on top is not what an adapter is judged by
        start = f"{inner}." if inner else ""
        lost = [key for key in lost if key.startswith(start) and "pooler" not in key]
    if lost:
        raise UserError(
            f"base={base}: {len(lost)} parameters have no weights that fit, {lost[0]} among them; "
            "they would start at random"
        )


@contextmanager
def _failures_named(base: str) -> Iterator[None]:
    """Whatever a library raises of a model becomes one line: it is damaged, or not there."""
    try:
        yield
    except UserError:
        raise
    except FAILURES as error:
        reason = " ".join(line.strip() for line in str(error).strip().split("\n")[:2])
        if "ignore_mismatched_sizes" in reason:
            reason = "its weights have other shapes than its config.json says"
        if Path(base).exists():
            raise UserError(f"base={base} cannot be loaded: {reason}") from None
        lost = f"base={base} is no folder here and cannot be had from the hub ({reason})"
        raise UserError(f"{lost}; give base=<folder>") from None
