"""Which of transformers' classes an adapter is for: the one that has the adapter's modules."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from loradrift.adapters import AdapterFiles

BY_TASK = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
"""PEFT's task type -> the class of transformers; others are named by the files or the base."""

KINDS = {
    "AutoModel": "transformer",
    "AutoModelForCausalLM": "causal LM",
    "AutoModelForSequenceClassification": "classifier",
}
"""The classes of text models whose inside is called by hand too."""


def choose_class(files: AdapterFiles, config: Any) -> tuple[str, dict[str, Any]]:
    """The name of the class, and what its ``from_pretrained`` needs beside the model's name.

    That of the adapter's task, if there is one for this base. Else, of those that the adapter's
    ``auto_mapping`` and the base's ``architectures`` name, and of the bare transformer, the first
    with all modules of the files.
    """
    wanted = {module.replace(".base_layer.", ".") for module in files.parts}
    best, built, most = "AutoModel", None, -1
    for name in _candidates(files, config):
        if (model := _build(name, config)) is None:
            continue
        found = len(wanted & {module for module, _ in model.named_modules()})
        if name in BY_TASK.values():
            return name, _labels(files, config, model)
        if found > most:
            best, built, most = name, model, found
    if built is None:
        return best, {}
    return _alias(best, built, config), _labels(files, config, built)


def _candidates(files: AdapterFiles, config: Any) -> Iterator[str]:
    mapping = files.config.get("auto_mapping")
    named = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    task = BY_TASK.get(str(files.config.get("task_type")))
    names = (task, named, *(getattr(config, "architectures", None) or []), "AutoModel")
    yield from dict.fromkeys(name for name in names if isinstance(name, str))


def _build(name: str, config: Any) -> nn.Module | None:
    """The modules without their weights; None where transformers has no such class for this."""
    import transformers

    loader = getattr(transformers, name, None)
    if loader is None:
        return None
    try:
        with torch.device("meta"):
            model: nn.Module = getattr(loader, "from_config", loader)(config)
    except Exception:  # whatever a class raises that is none of this configuration
        return None
    return model


def _alias(name: str, built: nn.Module, config: Any) -> str:
    """The general name of a class, if it is one of :data:`KINDS`."""
    for auto in KINDS:
        if type(_build(auto, config)) is type(built):
            return auto
    return name


def _labels(files: AdapterFiles, config: Any, built: nn.Module) -> dict[str, Any]:
    """The number of classes of a head in the files, if it is not the base's own."""
    if "Classification" not in type(built).__name__:
        return {}
    shapes = {name: x.shape for name, x in files.saved.items()}
    for name, weight in built.named_parameters():
        if name in shapes and len(shapes[name]) > 1 and shapes[name][0] != len(weight):
            labels = {"num_labels": shapes[name][0]}
            headed = any(
                "Classification" in x for x in getattr(config, "architectures", None) or []
            )
            return labels | ({"ignore_mismatched_sizes": True} if headed else {})
    return {}


def kind_of(name: str, model: Any) -> str:
    """What the model is called in a diagnosis; ``model`` if only its outputs are looked at."""
    config = model.config
    texts_alone = config.get_text_config() is config and not config.is_encoder_decoder
    plain = model.main_input_name == "input_ids" and texts_alone
    return KINDS.get(name, "model") if plain else "model"
